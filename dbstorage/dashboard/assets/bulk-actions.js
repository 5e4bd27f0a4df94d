// Bulk actions in progress: how far each is, and a button that cancels it.

import {ask, count, element, post, say, tasks} from "./common.js";

const VERBS = {retry: "Retry", edit: "Mend and retry", discard: "Discard", restore: "Restore", cancel: "Cancel"};
const place = document.getElementById("bulk-actions");
const address = document.getElementById("failed-tasks").dataset.bulkActions;

function words(action) {
    if (action.ended) {
        return action.sentence;
    }
    const of = action.applying ? action.matched : action.changed;
    const parts = [count(action.done) + " of " + count(of) + " done"];
    if (!action.applying) {
        parts.push(count(action.stored) + " stored", count(action.failed_again) + " failed again", count(action.left) + " left");
    }
    if (action.rate !== null && action.done) {
        parts.push(count(Math.round(action.rate)) + " a second");
    }
    return VERBS[action.what] + " (" + action.who + "): " + parts.join(", ");
}

function line(action) {
    const made = element("li", "", {"data-action": action.action});
    const stop = element("button", "Cancel", {type: "button", class: "btn btn-sm btn-outline-danger"});
    stop.addEventListener("click", async () => {
        stop.disabled = true;
        try {
            show(await post(address + "/" + action.action + "/cancel", {}));
        } catch (error) {
            say(error.message, "danger");
        }
        stop.disabled = false;
    });
    made.append(element("span", "", {"data-words": ""}), element("progress", ""), stop);
    place.append(made);
    return made;
}

function show(action) {
    const made = place.querySelector('[data-action="' + action.action + '"]') || line(action);
    const text = words(action);
    const shown = made.querySelector("[data-words]");
    if (shown.textContent !== text) {
        shown.textContent = text;
    }
    const bar = made.querySelector("progress");
    bar.max = Math.max(1, action.applying ? action.matched : action.changed);
    bar.value = action.done;
    const name = VERBS[action.what] + " " + tasks(action.matched);
    bar.setAttribute("aria-label", name);
    bar.hidden = action.ended;
    const stop = made.querySelector("button");
    if (stop) {
        stop.setAttribute("aria-label", "Cancel: " + name);
        if (action.ended) {
            const focused = document.activeElement === stop;
            stop.remove();
            made.setAttribute("role", "status");
            if (focused) {
                made.tabIndex = -1;
                made.focus();
            }
        }
    }
}

// Shows the bulk actions in progress; tells whether there are any.
export async function lookAtBulkActions(mayChange) {
    const {actions} = await ask(address);
    const told = actions.filter((action) => !action.ended || place.querySelector('[data-action="' + action.action + '"]') || started.has(action.action));
    told.forEach(show);
    if (!mayChange) {
        place.querySelectorAll("button").forEach((button) => button.remove());
    }
    return actions.some((action) => !action.ended);
}

// Actions that this page started: their end is shown even where it came before the first look.
const started = new Set();

export function follow(action) {
    // The lines of earlier actions go.
    place.querySelectorAll("li").forEach((made) => made.querySelector("button") || made.remove());
    started.add(action);
}
