// Before anything is drawn: the theme that was chosen, and which panels were open, so that nothing flickers.
{
  const root = document.documentElement;
  const theme = localStorage.getItem("gemcut.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const wide = matchMedia("(min-width: 60rem)").matches;
  root.dataset.shelf = wide && localStorage.getItem("gemcut.shelf") !== "closed" ? "open" : "closed";
  root.dataset.settings = wide && localStorage.getItem("gemcut.settings") === "open" ? "open" : "closed";
}
