// Before anything is drawn: the theme that was chosen, and which panels were open, so that nothing flickers.
{
  const root = document.documentElement;
  const recall = (name) => {
    try {
      return localStorage.getItem(`gemcut.${name}`);
    } catch {
      return null; // this browser keeps nothing
    }
  };
  const theme = recall("theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const wide = matchMedia("(min-width: 60rem)").matches;
  root.dataset.shelf = wide && recall("shelf") !== "closed" ? "open" : "closed";
  root.dataset.settings = wide && recall("settings") === "open" ? "open" : "closed";
}
