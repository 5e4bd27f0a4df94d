// Retrying, discarding and restoring: asks whether the operator means it, then does it.

import {ask, count, dialogOf, element, post, say, tasks} from "./common.js";
import {follow} from "./bulk-actions.js";

const WORDS = {
    retry: {button: "Retry", style: "btn-primary", done: "retried", consequence: "Any worker runs each of them again, as the same task."},
    discard: {button: "Discard", style: "btn-danger", done: "discarded", consequence: "A discarded task is not tried again. Its record stays, and can be restored."},
    restore: {button: "Restore", style: "btn-primary", done: "restored", consequence: "Each returns to state failed, and can be retried."},
};
const MOST_BY_CLICK = 100;

const dialog = dialogOf("failed-dialog");
const button = document.getElementById("failed-confirm");
const numberBox = document.getElementById("failed-number");
let pending = null;

// Asks about the change of the tasks that the query means.
export async function askAbout(change, query, whose, opener) {
    const words = WORDS[change];
    const answer = await ask(dialog.place.getAttribute("data-count-" + change) + "?" + query);
    if (!answer.count) {
        say("None of these tasks can be " + words.done + " now.", "warning");
        return;
    }
    const fields = new URLSearchParams(query);
    fields.set("up_to", answer.up_to);
    pending = {change: change, fields: fields};
    document.getElementById("failed-codes").replaceChildren(
        ...Object.entries(answer.count > 1 ? answer.codes : {}).map(([code, number]) => element("li", code + ": " + count(number)))
    );
    const typed = change === "discard" && answer.count > MOST_BY_CLICK;
    document.getElementById("failed-number-row").hidden = !typed;
    numberBox.value = "";
    numberBox.oninput = () => {
        button.disabled = typed && numberBox.value.replaceAll(",", "").trim() !== String(answer.count);
    };
    document.getElementById("failed-question").textContent = words.button + " " + tasks(answer.count) + " " + whose + "?";
    document.getElementById("failed-consequence").textContent = words.consequence;
    button.className = "btn " + words.style;
    button.textContent = words.button + " " + tasks(answer.count);
    button.disabled = typed;
    dialog.open(opener);
}

export function onChange(changed) {
    dialog.place.querySelector("form").addEventListener("submit", async (event) => {
        event.preventDefault();
        if (!pending || button.disabled) {
            return;
        }
        const {change, fields} = pending;
        fields.set("reason", document.getElementById("failed-reason").value);
        pending = null;
        button.disabled = true;
        button.textContent = "Working …";
        try {
            const answer = await post(dialog.place.getAttribute("data-apply-" + change), fields);
            follow(answer.action);
            const done = tasks(answer.changed) + (answer.changed === 1 ? " is " : " are ") + WORDS[change].done;
            say(done + (answer.applying ? " so far." : "."), "success");
        } catch (error) {
            say(error.message, "danger");
        }
        dialog.close();
        changed();
    });
}
