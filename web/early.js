// The chosen theme, before anything is painted: as a module it would come late, and a dark page would flash white.
'use strict';
try {
  const { theme } = JSON.parse(localStorage.getItem('shoal.settings')) ?? {};
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
} catch {
  // Blocked storage or garbage in it: the system's theme stands, and settings.js says no more about it either.
}
