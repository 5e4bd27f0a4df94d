// Moments as the reader's own clock shows them, and how long ago they were; the title has them in UTC.

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 10]];
const words = new Intl.RelativeTimeFormat("en", {numeric: "auto", style: "short"});

function relative(at) {
    const seconds = (at - Date.now()) / 1000;
    const unit = UNITS.find(([, length]) => Math.abs(seconds) >= length);
    return unit ? words.format(Math.round(seconds / (unit[0] === "second" ? 1 : unit[1])), unit[0]) : "now";
}

export function showTime(place) {
    const iso = place.getAttribute("datetime");
    const at = new Date(iso || NaN);
    // A column of PostgreSQL may hold `infinity`.
    if (Number.isNaN(at.getTime())) {
        place.textContent = iso;
        return;
    }
    place.title = at.toISOString();
    // Sweden writes 2026-05-05 22:08:00, which sorts and which everybody can read.
    const ago = document.createElement("span");
    ago.className = "failed-relative";
    ago.textContent = relative(at);
    place.replaceChildren(at.toLocaleString("sv-SE") + " ", ago);
}

export function showTimes(root) {
    root.querySelectorAll("time[datetime]").forEach(showTime);
}

export function timeOf(iso) {
    const made = document.createElement("time");
    made.setAttribute("datetime", iso);
    showTime(made);
    return made;
}

showTimes(document);
window.setInterval(() => showTimes(document), 10000);
