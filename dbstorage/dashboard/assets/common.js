// What the scripts of our pages share. Texts go into a page as text, never as markup.

export function element(name, text, attributes) {
    const made = document.createElement(name);
    made.textContent = text === null || text === undefined ? "" : String(text);
    Object.entries(attributes || {}).forEach(([key, value]) => made.setAttribute(key, value));
    return made;
}

export function count(number) {
    return number.toLocaleString("en");
}

export function tasks(number) {
    return count(number) + (number === 1 ? " task" : " tasks");
}

function cookie(name) {
    const match = document.cookie.match("(?:^|;)\\s*" + name + "\\s*=\\s*([^;]+)");
    return match ? decodeURIComponent(match[1]) : "";
}

// What an address answers; throws an Error with the sentence that Flower answers instead.
export async function ask(address, options) {
    let response;
    try {
        // An address of its own, because one that inherits a login from the page's (http://joe:secret@…) is refused.
        response = await fetch(new URL(address, window.location.origin), options);
    } catch {
        throw new Error("Flower does not answer.");
    }
    const text = await response.text();
    let answer = null;
    try {
        answer = JSON.parse(text);
    } catch {
        // It is a sentence.
    }
    if (!response.ok) {
        throw new Error((answer ? answer.error : text) || "Flower answered " + response.status + ".");
    }
    return answer;
}

export function post(address, fields) {
    return ask(address, {
        method: "POST",
        headers: {"X-XSRFToken": cookie("_xsrf")},
        body: new URLSearchParams(fields),
    });
}

// A dialog of Bootstrap's that gives the focus back to the button that opened it, or to what takes its place.
export function dialogOf(id) {
    const place = document.getElementById(id);
    const modal = new bootstrap.Modal(place);
    let opener = null;
    place.addEventListener("shown.bs.modal", () => {
        const first = place.querySelector("[data-first], input:not([type=hidden]), select");
        (first && first.offsetParent ? first : place.querySelector("button")).focus();
    });
    place.addEventListener("hidden.bs.modal", () => {
        if (!opener) {
            return;
        }
        const row = opener.closest("[data-id], tr") || document.getElementById("failed-tasks");
        const there = opener.isConnected && !opener.disabled;
        const again = there ? opener : row.isConnected && row.querySelector("button:not(:disabled):not([hidden]), a");
        (again || document.querySelector("#failed-tasks a, #failed-tasks button")).focus();
    });
    return {
        place: place,
        open(button) {
            opener = button;
            modal.show();
        },
        close() {
            modal.hide();
        },
    };
}

export function say(text, style) {
    const box = document.getElementById("failed-alert");
    box.className = "alert alert-" + style;
    box.textContent = text;
}
