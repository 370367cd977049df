// What pages gain with JavaScript beyond htmx: buttons that copy, a question
// before what cannot be undone, focus that stays, and a word when a search's answers stop coming.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = button.dataset.copied;
  } catch {
    getSelection().selectAllChildren(source); // no clipboard here: select it for the person
    button.textContent = button.dataset.selected;
  }
  setTimeout(() => { button.textContent = said; }, 2000);
});

document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.confirm;
  if (question && !confirm(question)) event.preventDefault();
});

const revealCopyButtons = (root) => {
  for (const button of root.querySelectorAll("[data-copy][hidden]")) button.hidden = false;
};
revealCopyButtons(document);
document.addEventListener("htmx:load", (event) => revealCopyButtons(event.target));

// A part of a page that keeps itself up to date leaves the keyboard's focus where it was.
const nameOf = (one) => [one.tagName, one.getAttribute("href"), one.form?.getAttribute("action"), one.name, one.value].join();
const likeIt = (name) => [...document.querySelectorAll("main a, main button, main summary")].filter((one) => nameOf(one) === name);
let focused = null;
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const one = document.activeElement;
  const within = one?.closest("main a, main button, main summary") && detail.target.contains(one);
  focused = within ? { name: nameOf(one), place: likeIt(nameOf(one)).indexOf(one) } : null;
});
document.addEventListener("htmx:afterSwap", () => {
  if (focused && document.activeElement === document.body) likeIt(focused.name)[focused.place]?.focus({ preventScroll: true });
  focused = null;
});

// A search whose connection breaks is not asked again by itself: that would ask every node, and enter the audit trail.
document.addEventListener("htmx:sseError", (event) => {
  const stream = event.target;
  stream.removeAttribute("sse-connect"); // without it, htmx does not connect again
  event.detail.source.close();
  for (const tag of stream.querySelectorAll(".busy")) {
    tag.classList.remove("busy");
    tag.textContent = stream.dataset.notHeard;
  }
  for (const line of stream.querySelectorAll("[data-asking]")) line.textContent = stream.dataset.notAll;
  const notice = document.getElementById("lost");
  if (notice) notice.hidden = false;
});

// A form that only hands the browser on sends itself; its button stays for where this does not happen.
for (const form of document.querySelectorAll("form[data-submit]")) form.requestSubmit();
