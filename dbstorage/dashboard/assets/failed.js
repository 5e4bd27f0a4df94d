// The Failed page: selecting, asking, changing, and following what becomes of the tasks on the page.
(function () {
    "use strict";

    // Milliseconds between two looks; shorter while something is on its way.
    const IDLE = 5000;
    const BUSY = 1000;
    const BADGES = {failed: "text-bg-danger", retrying: "text-bg-warning", resolved: "text-bg-success", discarded: "text-bg-secondary"};
    const CHANGEABLE = {retry: ["failed"], discard: ["failed", "retrying"], restore: ["discarded"]};
    const WORDS = {
        retry: {button: "Retry", style: "btn-primary", done: "retried", consequence: "Each runs again as the same task, by any worker."},
        discard: {button: "Discard", style: "btn-danger", done: "discarded", consequence: "What is discarded is not tried again; its record stays, and can be restored."},
        restore: {button: "Restore", style: "btn-primary", done: "restored", consequence: "Each is failed again, and can be retried."},
    };

    const page = document.getElementById("failed-tasks");
    const dialogElement = document.getElementById("failed-dialog");
    const dialog = new bootstrap.Modal(dialogElement);
    const confirmButton = document.getElementById("failed-confirm");
    const alertBox = document.getElementById("failed-alert");
    const selectAll = document.getElementById("failed-select-all");
    const shown = Array.from(page.querySelectorAll("[data-id]"));
    const numberBox = document.getElementById("failed-number");
    const MOST_BY_CLICK = 100;
    let pending = null;
    // Where the focus goes back to when the dialog is gone.
    let opener = null;

    function tasks(number) {
        return number.toLocaleString("en") + (number === 1 ? " task" : " tasks");
    }

    function say(text, style) {
        alertBox.className = "alert alert-" + style;
        alertBox.textContent = text;
    }

    function cookie(name) {
        const match = document.cookie.match("(?:^|;)\\s*" + name + "\\s*=\\s*([^;]+)");
        return match ? decodeURIComponent(match[1]) : "";
    }

    async function ask(address, options) {
        let response;
        try {
            // An address of its own, because one that inherits a login from the page's (http://joe:secret@…) is refused.
            response = await fetch(new URL(address, window.location.origin), options);
        } catch {
            throw new Error("Flower does not answer.");
        }
        const text = await response.text();
        if (response.ok) {
            return JSON.parse(text);
        }
        let sentence = text;
        try {
            sentence = JSON.parse(text).error;
        } catch {
            // It was a sentence already.
        }
        throw new Error(sentence || "Flower answered " + response.status + ".");
    }

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
            label.textContent = rows.length ? rows.length + " selected" : "";
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
        const buttons = row.matches("tr") ? row : page;
        buttons.querySelectorAll("button[data-of]").forEach((button) => {
            if (button.dataset.of === row.dataset.id) {
                button.disabled = !canBe(button.dataset.change, row);
            }
        });
    }

    function update(row, task) {
        ["code", "message", "attempts", "last_failed_at", "retry_at"].forEach((name) => {
            const place = row.querySelector("[data-field=" + name + "]");
            if (place && place.textContent !== String(task[name])) {
                place.textContent = task[name];
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
        const dot = document.getElementById("failed-live");
        if (dot) {
            dot.className = "status-dot " + style;
            document.getElementById("failed-live-text").textContent = text;
        }
    }

    // How many more match than when the page was loaded.
    async function lookForNew() {
        const total = document.getElementById("failed-total");
        const place = document.getElementById("failed-new");
        if (!total || !place) {
            return;
        }
        const answer = await ask(page.dataset.scriptTotal + "?" + page.dataset.filter);
        const more = answer.total - Number(total.dataset.total);
        place.hidden = more <= 0;
        if (more > 0) {
            place.querySelector("a").textContent = more.toLocaleString("en") + " new, show";
        }
    }

    async function look() {
        if (document.hidden) {
            return;
        }
        if (!shown.length) {
            try {
                await lookForNew();
                live("Live", "status-dot-live");
            } catch (error) {
                live(error.message, "status-dot-error");
            }
            return;
        }
        const ids = shown.map((row) => row.dataset.id).join(",");
        try {
            const answer = await ask(page.dataset.scriptStates + "?ids=" + ids);
            const found = new Map(answer.tasks.map((task) => [String(task.id), task]));
            shown.forEach((row) => found.has(row.dataset.id) && update(row, found.get(row.dataset.id)));
            showSelection();
            await lookForNew();
            live("Live", "status-dot-live");
        } catch (error) {
            live(error.message, "status-dot-error");
        }
    }

    let timer = null;

    async function follow() {
        window.clearTimeout(timer);
        await look();
        window.clearTimeout(timer);
        timer = window.setTimeout(follow, shown.some((row) => row.dataset.state === "retrying") ? BUSY : IDLE);
    }

    // Changing

    async function question(change, query, whose) {
        const words = WORDS[change];
        const answer = await ask(dialogElement.dataset["count" + words.button] + "?" + query);
        if (!answer.count) {
            say("None of them can be " + words.done + " (any more).", "warning");
            return;
        }
        pending = {change: change, body: new URLSearchParams(query)};
        pending.body.set("up_to", answer.up_to);
        const codes = document.getElementById("failed-codes");
        codes.replaceChildren(...Object.entries(answer.count > 1 ? answer.codes : {}).map(([code, number]) => {
            const item = document.createElement("li");
            item.textContent = code + ": " + number.toLocaleString("en");
            return item;
        }));
        const typed = change === "discard" && answer.count > MOST_BY_CLICK;
        document.getElementById("failed-number-row").hidden = !typed;
        numberBox.value = "";
        numberBox.oninput = () => {
            confirmButton.disabled = typed && numberBox.value.replaceAll(",", "").trim() !== String(answer.count);
        };
        document.getElementById("failed-question").textContent = words.button + " " + tasks(answer.count) + whose + "?";
        document.getElementById("failed-consequence").textContent = words.consequence;
        confirmButton.className = "btn " + words.style;
        confirmButton.textContent = words.button + " " + tasks(answer.count);
        confirmButton.disabled = typed;
        dialog.show();
    }

    async function apply() {
        if (!pending) {
            return;
        }
        const {change, body} = pending;
        body.set("reason", document.getElementById("failed-reason").value);
        pending = null;
        confirmButton.disabled = true;
        confirmButton.textContent = "Working …";
        try {
            const answer = await ask(dialogElement.dataset["apply" + WORDS[change].button], {
                method: "POST",
                headers: {"X-XSRFToken": cookie("_xsrf")},
                body: body,
            });
            say(tasks(answer.changed) + (answer.changed === 1 ? " is " : " are ") + WORDS[change].done + ".", "success");
        } catch (error) {
            say(error.message, "danger");
        }
        dialog.hide();
        shown.forEach((row) => {
            const box = row.querySelector("[data-select]");
            if (box) {
                box.checked = false;
            }
        });
        follow();
    }

    dialogElement.addEventListener("hidden.bs.modal", () => {
        const row = opener && opener.closest("[data-id]");
        const again = opener && !opener.disabled ? opener : row && row.querySelector("button:not(:disabled), a");
        if (again) {
            again.focus();
        }
    });

    async function begin(button) {
        opener = button;
        const of = button.dataset.of;
        button.disabled = true;
        try {
            if (of === "matching") {
                await question(button.dataset.change, page.dataset.filter, " that match");
            } else if (of === "selected") {
                const ids = selected().map((row) => row.dataset.id).join(",");
                await question(button.dataset.change, "ids=" + ids, " of those selected");
            } else {
                await question(button.dataset.change, "ids=" + of, " (id " + of + ")");
            }
        } catch (error) {
            say(error.message, "danger");
        }
        button.disabled = false;
        shown.forEach(showState);
        showSelection();
    }

    page.querySelectorAll("button[data-change]").forEach((button) => {
        button.addEventListener("click", () => begin(button));
    });
    confirmButton.addEventListener("click", apply);
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

    shown.forEach(showState);
    showSelection();
    if (document.getElementById("failed-total") || shown.length) {
        timer = window.setTimeout(follow, BUSY);
    }
}());
