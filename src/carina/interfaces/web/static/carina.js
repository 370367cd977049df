// What pages gain with JavaScript beyond htmx: buttons that copy, and a question before what cannot be undone.
"use strict";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const source = document.getElementById(button.dataset.copy);
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(source); // no clipboard here: select it for the person
    button.textContent = "Selected";
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
