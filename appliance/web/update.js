// A page that stays open for months must not stay as old as it is: when the device has other files
// than the ones this page runs on, it loads itself again. Once per version, whatever happens.

const RUNNING = new URL(import.meta.url).pathname.split('/').slice(-2)[0];
const TRIED = 'porthole-reloaded-for';

export function watchForUpdate(offered) {
  if (!offered || offered === RUNNING) return;
  try {
    if (sessionStorage.getItem(TRIED) === offered) return;
    sessionStorage.setItem(TRIED, offered);
  } catch (error) {
    return; // without a memory we could reload for ever
  }
  window.location.reload();
}
