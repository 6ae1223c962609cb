// The page without its server: a worker of the browser keeps its files, so that what was said can be read and the draft written while the
// server is away. Only where the browser trusts the connection: this machine, or HTTPS.

export function keepOffline() {
  // Blocked or not known to this browser: the page needs its server then.
  navigator.serviceWorker?.register('/assets/sw.js', { scope: '/' }).catch(() => {});
}
