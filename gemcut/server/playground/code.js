// The dialog that shows the next request as curl or Python.

import { byId, copyText, say } from "./dom.js";
import { highlight } from "./highlight.js";
import { shortened, snippets } from "./snippets.js";

/** request: gives the body of the next request.  isLocked: whether the server wants a key. */
export function setUpCode(request, isLocked) {
  const dialog = byId("code");
  const tabs = [...dialog.querySelectorAll("[role=tab]")];
  let form = "curl";
  let body = null;
  const written = () => snippets[form](body, isLocked());

  const show = () => {
    for (const tab of tabs) {
      const chosen = tab.dataset.form === form;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    const code = dialog.querySelector("pre code");
    code.textContent = shortened(written());
    highlight(code, form === "curl" ? "bash" : "python");
    byId("code-text").setAttribute("aria-labelledby", `tab-${form}`);
  };

  byId("copy-as").addEventListener("click", async () => {
    try {
      body = await request();
    } catch (error) {
      return say(error.message); // such as of a file that is not there any more
    }
    if (!body) return;
    show();
    dialog.showModal();
  });
  for (const tab of tabs) {
    tab.addEventListener("click", () => {
      form = tab.dataset.form;
      show();
    });
    tab.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = tabs[1 - tabs.indexOf(tab)];
      other.click();
      other.focus();
    });
  }
  byId("code-copy").addEventListener("click", () => copyText(written()));
}
