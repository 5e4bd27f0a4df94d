// The page Service: asks every few seconds how the service stands, and shows it. Texts go in as text, never as markup.

import {ask, element, post} from "./common.js";
import {timeOf} from "./times.js";

const LOOK = 5000;
const page = document.getElementById("service");
const number = new Intl.NumberFormat("en");
// The reader's own time of day, as the other moments on the page.
const clock = new Intl.DateTimeFormat("sv-SE", {hour: "2-digit", minute: "2-digit", hourCycle: "h23"});
let plots = [];
let paused = false;

function one(id) {
    return document.getElementById("service-" + id);
}

function count(value) {
    return value === null || value === undefined ? "unknown" : number.format(value);
}

function money(value) {
    return value === null ? "unknown" : Number(value).toLocaleString("en", {maximumFractionDigits: 2});
}

function seconds(value) {
    if (value === null || value === undefined) {
        return "unknown";
    }
    if (value < 90) {
        return (value < 10 ? value.toFixed(1) : value.toFixed(0)) + " s";
    }
    return value < 5400 ? Math.round(value / 60) + " min" : (value / 3600).toFixed(1) + " h";
}

function set(place, children) {
    place.replaceChildren(...children);
}

function table(place, columns, rows, none) {
    if (!rows || !rows.length) {
        set(place, [element("p", rows ? none : "unknown", {class: "service-muted mb-0"})]);
        return;
    }
    const made = element("table", "", {class: "table align-middle"});
    const head = made.createTHead().insertRow();
    columns.forEach((column) => head.append(element("th", column, {scope: "col"})));
    const body = made.createTBody();
    rows.forEach((cells) => {
        const row = body.insertRow();
        cells.forEach((cell) => row.insertCell().append(cell instanceof Node ? cell : String(cell ?? "")));
    });
    set(place, [made]);
}

// Charts

const CHARTS = [
    {
        title: "Throughput", unit: "entries a second",
        series: [["stored orders", (p) => p.stored / p.seconds], ["all entries", (p) => p.entries / p.seconds]],
    },
    {title: "Waiting", unit: "entries", series: [["not read", (p) => p.unread], ["in hand", (p) => p.pending]]},
    {title: "Age of the oldest entry", unit: "seconds", series: [["oldest", (p) => p.oldest]]},
    {
        title: "Answers", unit: "milliseconds",
        series: [["half of them within", (p) => p.answer_median], ["the slowest", (p) => p.answer_slowest]],
    },
    {title: "Failures", unit: "tasks in 10 s", series: [["failed", (p) => p.failed]]},
];

function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function shown(value) {
    return value === null || value === undefined ? "nothing" : number.format(Math.round(value * 10) / 10);
}

function summary(chart, history) {
    const words = chart.series.map(([label, of]) => {
        const values = history.map(of).filter((value) => value !== null && value !== undefined);
        if (!values.length) {
            return label + ": nothing yet";
        }
        return label + " " + shown(values[values.length - 1]) + ", at most " + shown(Math.max(...values));
    });
    return words.join("; ") + " (" + chart.unit + ").";
}

// Where no worker reported for some time, the line has a gap.
function columns(chart, history) {
    const times = [];
    const values = chart.series.map(() => []);
    history.forEach((point, index) => {
        if (index && point.at - history[index - 1].at > 25) {
            times.push(history[index - 1].at + 10);
            values.forEach((column) => column.push(null));
        }
        times.push(point.at);
        chart.series.forEach(([, of], which) => values[which].push(of(point) ?? null));
    });
    return [times, ...values];
}

// A single value between two gaps is no line: it is drawn as a point.
function alone(plot, which) {
    const values = plot.data[which];
    const found = [];
    values.forEach((value, index) => {
        if (value !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null) {
            found.push(index);
        }
    });
    return found;
}

function draw(history) {
    const place = one("charts");
    if (!place.childElementCount) {
        CHARTS.forEach((chart) => {
            const figure = element("figure", "", {class: "service-card service-chart"});
            figure.append(element("figcaption", chart.title), element("p", "", {"data-summary": ""}));
            figure.append(element("div", "", {"data-plot": "", "aria-hidden": "true"}));
            place.append(figure);
        });
    }
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const muted = colour("--flower-text-muted");
    const strokes = [colour("--flower-active"), colour("--flower-warning")];
    const now = history.length ? history[history.length - 1].at : Date.now() / 1000;
    Array.from(place.children).forEach((figure, index) => {
        const chart = CHARTS[index];
        figure.querySelector("[data-summary]").textContent = summary(chart, history);
        const at = figure.querySelector("[data-plot]");
        const times = (u, ticks) => ticks.map((at) => clock.format(at * 1000));
        const axis = {stroke: muted, grid: {stroke: colour("--bs-border-color"), width: 1}, ticks: {show: false}};
        plots.push(new uPlot({
            width: Math.max(200, at.clientWidth || figure.clientWidth - 32),
            height: 150,
            legend: {show: false},
            cursor: {show: false},
            scales: {x: {range: [now - 3600, now]}, y: {range: (u, low, high) => [0, Math.max(1, (high || 0) * 1.1)]}},
            axes: [{...axis, values: times}, {...axis, size: 56, values: (u, ticks) => ticks.map((tick) => number.format(tick))}],
            series: [{}, ...chart.series.map(([label], which) => ({
                label: label, stroke: strokes[which], width: 2, dash: which ? [6, 3] : undefined,
                points: {show: true, size: 5, fill: strokes[which], filter: alone},
            }))],
        }, columns(chart, history), at));
    });
}

one("zone").textContent = "times of " + new Intl.DateTimeFormat().resolvedOptions().timeZone;

// Everything

function show(state) {
    const redis = state.redis;
    const database = state.database;
    const verdict = one("verdict");
    verdict.dataset.standing = state.verdict.standing;
    if (verdict.textContent !== state.verdict.sentence) {
        verdict.textContent = state.verdict.sentence;
    }
    paused = redis.paused !== null;
    const button = one("pause-button");
    if (button) {
        button.disabled = redis.problem !== null;
        button.textContent = paused ? "Resume the service" : "Pause the service";
    }
    const failed = database.failed_tasks === null ? null : Object.values(database.failed_tasks)
        .reduce((sum, states) => sum + (states.failed || 0) + (states.retrying || 0), 0);
    const last = redis.history && redis.history.length ? redis.history[redis.history.length - 1] : null;
    set(one("figures"), [
        ["not read", redis.lag === null && redis.lag_at_least ? count(redis.lag_at_least) + " or more" : count(redis.lag)],
        ["in hand", count(redis.pending)],
        ["the oldest not read", redis.lag === 0 ? "none" : seconds(redis.oldest_unread_seconds)],
        ["the oldest in hand", redis.pending === 0 ? "none" : seconds(redis.oldest_pending_seconds)],
        ["orders stored a second", last ? shown(last.stored / last.seconds) : "unknown"],
        ["failed or retrying", count(failed)],
    ].map(([name, value]) => {
        const group = element("div");
        group.append(element("dt", name), element("dd", value));
        return group;
    }));
    draw(redis.history || []);
    table(one("workers"), ["worker", "state", "last report", "host", "why it waits"], redis.workers && redis.workers.map(
        (worker) => [worker.name, worker.state, worker.silent_seconds === null ? "" : seconds(worker.silent_seconds) + " ago",
            worker.host, worker.holding]
    ), "No worker is known.");
    table(one("servers"), ["server", "status", "address, or what is wrong"], [
        [(redis.server || "Redis") + " " + (redis.version || ""), redis.up ? "up" : "down", redis.problem || redis.refusal || redis.url],
        ["PostgreSQL " + (database.version || ""), database.up ? "up" : "down", database.problem || database.address],
    ], "");
    table(one("today"), ["symbol", "orders", "profit"], database.today && database.today.map(
        (each) => [each.symbol, count(each.orders), money(each.profit)]
    ), "No order was closed today.");
    const order = database.last_order;
    one("last").replaceChildren(...(order
        ? ["Stored last: order " + order.order_id + " of " + order.user_id + ", " + order.symbol + ", closed ", timeOf(order.closed), "."]
        : []));
    table(one("operations"), ["when", "who", "what", "tasks", "which", "reason"], state.operations && state.operations.map(
        (each) => [timeOf(each.at), each.who, each.what, each.number, each.which, each.reason]
    ), "Nothing yet.");
}

function live(text, style) {
    one("live").className = "status-dot " + style;
    one("live-text").textContent = text;
}

let timer = null;

async function look() {
    window.clearTimeout(timer);
    if (!document.hidden) {
        try {
            show(await ask(page.dataset.state));
            live("Live", "status-dot-live");
        } catch (error) {
            live(error.message, "status-dot-error");
        }
    }
    window.clearTimeout(timer);
    timer = window.setTimeout(look, LOOK);
}

async function change(event) {
    event.preventDefault();
    const button = one("pause-button");
    const said = one("said");
    button.disabled = true;
    try {
        const answer = await post(paused ? page.dataset.resume : page.dataset.pause, {reason: one("reason").value});
        said.textContent = answer.sentence;
        said.className = "alert alert-info";
        one("reason").value = "";
    } catch (error) {
        said.textContent = error.message;
        said.className = "alert alert-danger";
    }
    said.hidden = false;
    await look();
    button.focus();
}

const form = one("pause");
if (form) {
    form.addEventListener("submit", change);
}
document.addEventListener("visibilitychange", () => document.hidden || look());
window.addEventListener("resize", look);
new MutationObserver(look).observe(document.documentElement, {attributes: true, attributeFilter: ["data-bs-theme"]});
look();
