// What is known before anything is painted. The chosen theme: as a module it would come late, and a dark page would flash white. `data-theme`
// is light or dark if it was chosen, `data-contrast` is there if it is to be high. app.js calls it again after a change. And whether the
// welcome will be shown: where no conversation was open, and in English, which index.html has, `data-fresh` shows it at once. app.js takes
// that away when it knows for itself.
'use strict';
let theme;
try {
  let language;
  ({ theme, language = 'auto' } = JSON.parse(localStorage.getItem('shoal.settings')) ?? {});
  const isEnglish = language === 'en' || (language === 'auto' && /^en/i.test(navigator.language));
  const open = sessionStorage.getItem('shoal.open') ?? localStorage.getItem('shoal.open') ?? '""';
  if (isEnglish && open === '""' && localStorage.getItem('shoal.conversation') === null) document.documentElement.dataset.fresh = '';
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
