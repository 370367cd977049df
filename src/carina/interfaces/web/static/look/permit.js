// Whether the images may stay open: the page asks every few seconds. After a refusal, or when nobody answers, its
// content is gone, and so is all that scripts keep of it.
const SILENCE = 40_000; // ms without a word from the node, after which images are hidden

const access = document.getElementById("access");
const silent = document.getElementById("silent");
const enders = new Set();
let heard = Date.now();

/** Call `forget` when the images must go. */
export const whenEnded = (forget) => enders.add(forget);

/** Ask now: a picture was refused, perhaps because the permit has ended. */
export const askAgain = () => { if (access?.isConnected) window.htmx?.trigger(access, "look"); };

const end = () => { for (const forget of enders) forget(); };

if (access) {
  document.addEventListener("htmx:afterRequest", (event) => {
    if (event.detail.elt === access && event.detail.xhr.status) heard = Date.now();
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id !== "main") return;
    end();
    event.detail.target.focus();
  });
  setInterval(() => {
    if (!access.isConnected || Date.now() - heard < SILENCE) return;
    end();
    document.getElementById("main").replaceChildren(silent.content.cloneNode(true));
  }, 2_000);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) askAgain(); });
}

// A picture of a list that cannot be had gives its place to a plain sentence.
const replaceBroken = (picture) => {
  const said = document.createElement("span");
  said.className = "no-picture";
  said.textContent = picture.dataset.missing;
  picture.replaceWith(said);
};
for (const picture of document.querySelectorAll("img[data-missing]")) {
  if (picture.complete && picture.src && !picture.naturalWidth) replaceBroken(picture);
  else picture.addEventListener("error", () => replaceBroken(picture), { once: true });
}
