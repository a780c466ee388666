// The dialog that shows the next request as curl or Python.

import { byId, copyText } from "./dom.js";
import { highlight } from "./highlight.js";
import { shortened, snippets } from "./snippets.js";

/** request: gives the body of the next request.  key: gives the API key. */
export function setUpCode(request, key) {
  const dialog = byId("code");
  const tabs = [...dialog.querySelectorAll("[role=tab]")];
  let form = "curl";
  let body = null;

  const show = () => {
    for (const tab of tabs) {
      const chosen = tab.dataset.form === form;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    const code = dialog.querySelector("pre code");
    code.textContent = shortened(snippets[form](body, key()));
    highlight(code, form === "curl" ? "bash" : "python");
    byId("code-text").setAttribute("aria-labelledby", `tab-${form}`);
  };

  byId("copy-as").addEventListener("click", async () => {
    body = await request();
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
  byId("code-copy").addEventListener("click", () => copyText(snippets[form](body, key())));
}
