// On every page of Flower: one line that says what is wrong with the service, and nothing while all is well.
(function () {
    "use strict";

    const LOOK = 5000;
    const banner = document.getElementById("dbstorage-banner");

    function show(standing, sentence) {
        const sound = standing === "fine";
        const text = "DBStorage: " + sentence;
        const place = banner.querySelector("[data-sentence]");
        if (!sound && place.textContent !== text) {
            place.textContent = text;
        }
        banner.dataset.standing = standing;
        banner.hidden = sound;
    }

    async function look() {
        if (!document.hidden) {
            try {
                const address = new URL(banner.dataset.verdict, window.location.origin);
                const answer = await fetch(address);
                if (!answer.ok) {
                    throw new Error();
                }
                const verdict = await answer.json();
                show(verdict.standing, verdict.sentence);
            } catch {
                show("away", "Flower does not answer; what this page shows may be old.");
            }
        }
        window.setTimeout(look, LOOK);
    }

    look();
}());
