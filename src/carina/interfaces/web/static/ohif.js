// What a node adds to OHIF: a way back, a sentence where OHIF would show nothing, and the end of it when the node says
// that the permit holds no longer, or says nothing.
"use strict";

(() => {
  const SILENCE = 40_000; // ms without a word from the node, after which the images are hidden
  const { access, ended, poll, title, text, again, missing } = document.body.dataset;
  const { back, text: backText, note, language } = window.carina;
  let heard = Date.now();

  // OHIF keeps a person's choices here. Its tour of eleven steps counts as seen.
  try {
    localStorage.setItem("shownTours", JSON.stringify(["basicViewerTour"]));
    if (!localStorage.getItem("i18nextLng")) localStorage.setItem("i18nextLng", language === "de" ? "de" : "en-US");
  } catch { /* a browser that keeps nothing */ }

  window.config.whiteLabeling = {
    createLogoComponentFn: (React) => React.createElement(
      "a",
      { href: back, style: { color: "#9fd8ea", fontSize: "14px", whiteSpace: "nowrap", padding: "0 8px" } },
      `← ${backText} · ${note}`,
    ),
  };

  // OHIF asks this when a segmentation's or structure set's images are not there; it would show an empty place.
  const say = (sentence) => {
    const there = document.getElementById("carina-notice");
    const notice = there ?? document.createElement("p");
    notice.id = "carina-notice";
    notice.setAttribute("role", "status");
    notice.textContent = sentence;
    notice.style.cssText = "position: fixed; left: 50%; top: 40%; transform: translateX(-50%); max-width: 30rem; "
      + "padding: 1rem 1.5rem; font: 1rem system-ui; color: #fff; background: #16202b; border: 1px solid #9fd8ea; z-index: 9";
    if (!there) document.body.append(notice);
    clearTimeout(Number(notice.dataset.timer));
    notice.dataset.timer = setTimeout(() => notice.remove(), 10_000);
  };
  const withoutImages = () => {
    say(missing);
    return { handled: true };
  };
  window.config.customizationService = { global: { missingReferenceDisplaySetHandler: { $set: withoutImages } } };

  const close = () => {
    const page = document.createElement("main");
    const heading = document.createElement("h1");
    const words = document.createElement("p");
    const link = document.createElement("a");
    heading.textContent = title;
    words.textContent = text;
    link.textContent = again;
    link.href = location.href;
    page.append(heading, words, link);
    page.setAttribute("role", "alert");
    page.style.cssText = "padding: 4rem; font: 1rem system-ui; color: #fff; background: #16202b; min-height: 100vh";
    document.body.replaceChildren(page);
    window.stop();
  };

  const ask = async () => {
    try {
      const answer = await fetch(access, { cache: "no-store" });
      if (answer.status >= 500) throw new Error("no answer");
      heard = Date.now();
      if (!answer.ok) location.replace(ended); // says why
    } catch {
      if (Date.now() - heard > SILENCE) close();
    }
  };
  setInterval(ask, Number(poll) * 1000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) ask(); });
})();
