// What goes on with many tasks at once: how far it is, and stopping it.

import {ask, count, element, post, say, tasks} from "./common.js";

const VERBS = {retry: "Retry", edit: "Mend and retry", discard: "Discard", restore: "Restore", cancel: "Cancel"};
const place = document.getElementById("failed-jobs");
const address = document.getElementById("failed-tasks").dataset.jobs;

function words(job) {
    if (job.ended) {
        return job.sentence;
    }
    const of = job.applying ? job.matched : job.changed;
    const parts = [count(job.done) + " of " + count(of) + " done"];
    if (!job.applying) {
        parts.push(count(job.stored) + " stored", count(job.failed_again) + " failed again", count(job.left) + " left");
    }
    if (job.rate !== null && job.done) {
        parts.push(count(Math.round(job.rate)) + " a second");
    }
    return VERBS[job.what] + " (" + job.who + "): " + parts.join(", ");
}

function line(job) {
    const made = element("li", "", {"data-job": job.job});
    const stop = element("button", "Cancel", {type: "button", class: "btn btn-sm btn-outline-danger"});
    stop.addEventListener("click", async () => {
        stop.disabled = true;
        try {
            show(await post(address + "/" + job.job + "/cancel", {}));
        } catch (error) {
            say(error.message, "danger");
        }
        stop.disabled = false;
    });
    made.append(element("span", "", {"data-words": ""}), element("progress", ""), stop);
    place.append(made);
    return made;
}

function show(job) {
    const made = place.querySelector('[data-job="' + job.job + '"]') || line(job);
    const text = words(job);
    const shown = made.querySelector("[data-words]");
    if (shown.textContent !== text) {
        shown.textContent = text;
    }
    const bar = made.querySelector("progress");
    bar.max = Math.max(1, job.applying ? job.matched : job.changed);
    bar.value = job.done;
    const name = VERBS[job.what] + " " + tasks(job.matched);
    bar.setAttribute("aria-label", name);
    bar.hidden = job.ended;
    const stop = made.querySelector("button");
    if (stop) {
        stop.setAttribute("aria-label", "Cancel: " + name);
        if (job.ended) {
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

// Shows what goes on; whether anything does.
export async function lookAtJobs(mayChange) {
    const {jobs} = await ask(address);
    const told = jobs.filter((job) => !job.ended || place.querySelector('[data-job="' + job.job + '"]') || started.has(job.job));
    told.forEach(show);
    if (!mayChange) {
        place.querySelectorAll("button").forEach((button) => button.remove());
    }
    return jobs.some((job) => !job.ended);
}

// Jobs of this page, whose end is told also where it came before the first look.
const started = new Set();

export function follow(job) {
    // What ended before makes room.
    place.querySelectorAll("li").forEach((made) => made.querySelector("button") || made.remove());
    started.add(job);
}
