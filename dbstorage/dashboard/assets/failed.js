// The Failed page: selecting, asking, and following what becomes of the tasks on the page.

import {askAbout, onChange} from "./change.js";
import {ask, count, say, tasks} from "./common.js";
import {lookAtBulkActions} from "./bulk-actions.js";
import {askToMend, onMending} from "./mend.js";
import {showTime, showTimes} from "./times.js";

// Milliseconds between two looks; shorter while something is on its way.
const IDLE = 5000;
const BUSY = 1000;
const BADGES = {failed: "text-bg-danger", retrying: "text-bg-warning", resolved: "text-bg-success", discarded: "text-bg-secondary"};
const CHANGEABLE = {retry: ["failed"], mend: ["failed"], discard: ["failed", "retrying"], restore: ["discarded"]};

const page = document.getElementById("failed-tasks");
const selectAll = document.getElementById("failed-select-all");
const total = document.getElementById("failed-total");
const shown = Array.from(page.querySelectorAll("[data-id]"));
const mayChange = !document.getElementById("failed-refusal");

// Selecting

function selected() {
    return shown.filter((row) => row.querySelector("[data-select]")?.checked);
}

function canBe(change, row) {
    return CHANGEABLE[change].includes(row.dataset.state);
}

function showSelection() {
    const rows = selected();
    page.querySelectorAll("[data-of=selected]").forEach((button) => {
        button.disabled = !rows.some((row) => canBe(button.dataset.change, row));
    });
    const label = document.getElementById("failed-selected");
    if (label) {
        label.textContent = rows.length ? count(rows.length) + " selected" : "";
    }
    if (selectAll) {
        selectAll.checked = rows.length > 0 && rows.length === shown.length;
        selectAll.indeterminate = rows.length > 0 && rows.length < shown.length;
    }
}

// Showing a task

function showState(row) {
    const badge = row.querySelector("[data-field=state]");
    badge.className = "badge " + (BADGES[row.dataset.state] || "text-bg-secondary");
    badge.textContent = row.dataset.state;
    const place = row.matches("tr") ? row : page;
    const focused = place.contains(document.activeElement) ? document.activeElement : null;
    place.querySelectorAll("button[data-of]").forEach((button) => {
        if (button.dataset.of === row.dataset.id) {
            button.disabled = !canBe(button.dataset.change, row);
            if (button.dataset.change === "restore") {
                button.hidden = button.disabled;
            }
        }
    });
    if (focused && focused.disabled) {
        // A button that goes out must not take the focus with it.
        place.querySelector("button[data-of]:not(:disabled), a").focus();
    }
}

function update(row, task) {
    ["code", "message", "attempts"].forEach((name) => {
        const place = row.querySelector("[data-field=" + name + "]");
        if (place && place.textContent !== String(task[name])) {
            place.textContent = task[name];
        }
    });
    ["last_failed_at", "retry_at"].forEach((name) => {
        const time = row.querySelector("[data-field=" + name + "] time");
        if (time && (time.getAttribute("datetime") || "") !== task[name]) {
            time.setAttribute("datetime", task[name]);
            showTime(time);
        }
    });
    if (row.dataset.state !== task.state) {
        row.dataset.state = task.state;
        row.classList.add("failed-changed");
        window.setTimeout(() => row.classList.remove("failed-changed"), 1500);
        showState(row);
    }
}

// Following

function live(text, style) {
    document.getElementById("failed-live").className = "status-dot " + style;
    document.getElementById("failed-live-text").textContent = text;
}

async function lookAtRows() {
    if (!shown.length) {
        return;
    }
    const answer = await ask(page.dataset.states + "?ids=" + shown.map((row) => row.dataset.id).join(","));
    const found = new Map(answer.tasks.map((task) => [String(task.id), task]));
    shown.forEach((row) => found.has(row.dataset.id) && update(row, found.get(row.dataset.id)));
    showSelection();
}

// How many match by now, and how many of them failed since the page was loaded.
async function lookForNew() {
    const answer = await ask(page.dataset.total + "?" + page.dataset.filter + "&newer_than=" + page.dataset.newest);
    const text = tasks(answer.total) + (answer.total === 1 ? " matches." : " match.");
    if (total.textContent.trim() !== text) {
        total.textContent = text;
    }
    const place = document.getElementById("failed-new");
    if (answer.new && !groups()) {
        const link = place.querySelector("a") || document.createElement("a");
        link.href = window.location.href;
        link.textContent = count(answer.new) + " new, show";
        place.replaceChildren(link);
    } else {
        place.replaceChildren();
    }
}

function groups() {
    return document.getElementById("failed-groups");
}

// The groups as they are now; the focus stays on the same group.
async function lookAtGroups() {
    const response = await fetch(new URL(window.location.pathname + window.location.search, window.location.origin));
    if (!response.ok) {
        throw new Error("Flower answered " + response.status + ".");
    }
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("failed-groups");
    const place = groups();
    if (!fresh || document.querySelector(".modal.show")) {
        return;
    }
    const focused = place.contains(document.activeElement) ? document.activeElement : null;
    const isSame = (other) => other.dataset.query === focused.dataset.query && other.dataset.change === focused.dataset.change &&
        other.getAttribute("href") === focused.getAttribute("href");
    showTimes(fresh);
    place.tBodies[0].replaceWith(fresh.tBodies[0]);
    if (focused) {
        (Array.from(place.querySelectorAll("a, button")).find(isSame) || place.closest("[tabindex]")).focus();
    }
}

async function look() {
    let busy = shown.some((row) => row.dataset.state === "retrying");
    if (document.hidden) {
        return busy;
    }
    try {
        busy = await lookAtBulkActions(mayChange) || busy;
        await lookAtRows();
        if (total) {
            await lookForNew();
        }
        if (groups()) {
            await lookAtGroups();
        }
        live("Live", "status-dot-live");
    } catch (error) {
        live(error.message, "status-dot-error");
    }
    return busy;
}

let timer = null;

async function follow() {
    window.clearTimeout(timer);
    const busy = await look();
    window.clearTimeout(timer);
    timer = window.setTimeout(follow, busy ? BUSY : IDLE);
}

// Changing

// The query that means the tasks of a button, and how a sentence names them.
function meant(button) {
    const of = button.dataset.of;
    if (of === "matching") {
        return [page.dataset.filter, "that match"];
    }
    if (of === "selected") {
        return ["ids=" + selected().map((row) => row.dataset.id).join(","), "of those selected"];
    }
    return of === "group" ? [button.dataset.query, "of this group"] : ["ids=" + of, "(id " + of + ")"];
}

// The field that the failure is about; of several tasks only where all name the same.
function fieldOf(button) {
    if (button.dataset.of !== "selected") {
        return button.dataset.field;
    }
    const named = new Set(selected().map((row) => row.querySelector("[data-change=mend]").dataset.field));
    return named.size === 1 ? Array.from(named)[0] : "";
}

async function begin(button) {
    const [query, whose] = meant(button);
    button.disabled = true;
    try {
        if (button.dataset.change === "mend") {
            await askToMend(query, whose, button, fieldOf(button));
        } else {
            await askAbout(button.dataset.change, query, whose, button);
        }
    } catch (error) {
        say(error.message, "danger");
    }
    button.disabled = false;
    shown.forEach(showState);
    showSelection();
}

function changed() {
    shown.forEach((row) => {
        const box = row.querySelector("[data-select]");
        if (box) {
            box.checked = false;
        }
    });
    follow();
}

page.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-change]");
    if (button) {
        begin(button);
    }
});
page.addEventListener("change", (event) => {
    if (event.target === selectAll) {
        shown.forEach((row) => {
            row.querySelector("[data-select]").checked = selectAll.checked;
        });
    }
    if (event.target === selectAll || event.target.matches("[data-select]")) {
        showSelection();
    }
});
document.addEventListener("visibilitychange", () => document.hidden || follow());
onChange(changed);
onMending(changed);

shown.forEach(showState);
showSelection();
if (document.getElementById("failed-live")) {
    timer = window.setTimeout(follow, BUSY);
}
