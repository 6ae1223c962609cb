// The chosen theme, before anything is painted: as a module it would come late, and a dark page would flash white. `data-theme` is light
// or dark if it was chosen, `data-contrast` is there if it is to be high. app.js calls it again after a change.
'use strict';
let theme;
try {
  ({ theme } = JSON.parse(localStorage.getItem('shoal.settings')) ?? {});
} catch {
  // Blocked storage or garbage in it: the system's theme stands, and settings.js says no more about it either.
}
globalThis.paintTheme = (chosen = theme) => {
  theme = chosen;
  const { dataset } = document.documentElement;
  if (theme === 'light' || theme === 'dark') dataset.theme = theme;
  else delete dataset.theme;
  const isHigh = theme === 'contrast' || (dataset.theme === undefined && matchMedia('(prefers-contrast: more)').matches);
  if (isHigh) dataset.contrast = 'high';
  else delete dataset.contrast;
};
globalThis.paintTheme();
matchMedia('(prefers-contrast: more)').addEventListener('change', () => globalThis.paintTheme());
