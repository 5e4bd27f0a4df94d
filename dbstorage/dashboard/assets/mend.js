// Mending: gives fields of one task, or of all that match, other values. It first shows what would come of it.

import {ask, count, dialogOf, element, post, say, tasks} from "./common.js";
import {follow} from "./bulk-actions.js";

const dialog = dialogOf("mend-dialog");
const rows = document.getElementById("mend-rows");
const result = document.getElementById("mend-result");
const tryButton = document.getElementById("mend-try");
const confirmButton = document.getElementById("mend-confirm");
let query = "";
let upTo = null;
// What the fields of a single task hold now.
let values = {};

function untried() {
    upTo = null;
    confirmButton.disabled = true;
    confirmButton.textContent = "Mend and retry";
    result.replaceChildren();
}

function addRow(field) {
    const row = document.getElementById("mend-row").content.firstElementChild.cloneNode(true);
    const [select, input] = row.children;
    const fill = () => {
        input.value = values[select.value] ?? "";
    };
    if (field) {
        select.value = field;
    }
    fill();
    select.addEventListener("change", fill);
    row.addEventListener("input", untried);
    rows.append(row);
    return row;
}

// `field` is the one that the failure names; nothing where it names none.
export async function askToMend(tasksQuery, whose, opener, field) {
    query = tasksQuery;
    values = {};
    if (opener.dataset.fields) {
        try {
            values = (await ask(opener.dataset.fields)).fields;
        } catch {
            // Who may not see the payload types the values.
        }
    }
    rows.replaceChildren();
    addRow(field);
    untried();
    document.getElementById("mend-title").textContent = (opener.dataset.fields ? "Mend and retry the task " : "Mend and retry tasks ") + whose;
    dialog.open(opener);
}

function asked() {
    const fields = new URLSearchParams(query);
    Array.from(rows.children).forEach((row) => fields.append("set", row.children[0].value + "=" + row.children[1].value));
    fields.set("reason", document.getElementById("mend-reason").value);
    return fields;
}

function showResult(answer) {
    const parts = [element("p", tasks(answer.mended) + " would be mended and retried.", {class: "fw-bold mb-1"})];
    if (answer.samples.length) {
        const table = element("table", "", {class: "table table-sm mb-2"});
        const head = table.createTHead().insertRow();
        ["Task", "Field", "Now", "Then"].forEach((name) => head.append(element("th", name, {scope: "col"})));
        const body = table.createTBody();
        answer.samples.forEach((sample) => sample.values.forEach(([name, before, after]) => {
            const row = body.insertRow();
            [sample.id, name, before ?? "—", after].forEach((text) => {
                row.insertCell().textContent = text;
            });
        }));
        const scroll = element("div", "", {class: "failed-scroll", tabindex: "0", role: "region", "aria-label": "What would change"});
        scroll.append(table);
        parts.push(scroll);
    }
    if (answer.mended > answer.samples.length) {
        parts.push(element("p", "… and " + count(answer.mended - answer.samples.length) + " more.", {class: "mb-1"}));
    }
    answer.refused.forEach(([sentence, number]) => {
        parts.push(element("p", tasks(number) + " would still fail: " + sentence, {class: "mb-1", "data-refused": ""}));
    });
    result.replaceChildren(...parts);
}

async function attempt() {
    untried();
    tryButton.disabled = true;
    const fields = asked();
    try {
        const answer = await post(dialog.place.dataset.check, fields);
        // If the fields changed meanwhile, the answer is about something else.
        if (fields.toString() === asked().toString()) {
            showResult(answer);
            upTo = answer.up_to;
            confirmButton.disabled = !answer.mended;
            confirmButton.textContent = "Mend and retry " + tasks(answer.mended);
        }
    } catch (error) {
        result.replaceChildren(element("p", error.message, {class: "alert alert-danger mb-0"}));
    }
    tryButton.disabled = false;
    (confirmButton.disabled ? tryButton : confirmButton).focus();
}

export function onMending(changed) {
    dialog.place.querySelector("form").addEventListener("submit", (event) => {
        event.preventDefault();
        attempt();
    });
    document.getElementById("mend-another").addEventListener("click", () => {
        untried();
        addRow().children[0].focus();
    });
    confirmButton.addEventListener("click", async () => {
        const fields = asked();
        fields.set("up_to", upTo);
        confirmButton.disabled = true;
        confirmButton.textContent = "Working …";
        try {
            const answer = await post(dialog.place.dataset.apply, fields);
            follow(answer.action);
            const done = tasks(answer.changed) + (answer.changed === 1 ? " is" : " are") + " mended and retried";
            say(done + (answer.applying ? " so far." : "."), "success");
        } catch (error) {
            say(error.message, "danger");
        }
        dialog.close();
        changed();
    });
}
