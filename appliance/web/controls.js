// The player's buttons and keys. They hide while nobody moves, and never while one has the focus.

const HIDE_MS = 3500;

export function bindControls({ stage, video, playback }) {
  const at = (id) => document.getElementById(id);
  const buttons = { pause: at('pause'), mute: at('mute'), live: at('live'), pip: at('pip'), full: at('full') };
  let timer = 0;

  function wake() {
    stage.classList.remove('quiet');
    clearTimeout(timer);
    timer = setTimeout(rest, HIDE_MS);
  }

  // Only a picture that moves is worth hiding the controls for.
  function rest() {
    if (playback.state === 'playing') stage.classList.add('quiet');
    else timer = setTimeout(rest, HIDE_MS);
  }

  function label(button, text, key) {
    button.setAttribute('aria-label', text);
    button.title = `${text} (${key})`;
  }

  function refresh() {
    const paused = playback.state === 'paused' || playback.state === 'blocked';
    stage.classList.toggle('paused', paused);
    stage.classList.toggle('muted', video.muted);
    label(buttons.pause, paused ? 'Play' : 'Pause', 'space');
    label(buttons.mute, video.muted ? 'Unmute' : 'Mute', 'm');
  }

  const actions = {
    pause() {
      if (playback.state === 'paused' || playback.state === 'blocked') playback.play();
      else playback.pause();
    },
    mute() {
      video.muted = !video.muted;
      if (!video.muted) video.volume = 1;
    },
    live() {
      if (playback.state === 'paused' || playback.state === 'blocked') playback.play();
      else playback.goLive();
    },
    pip() {
      if (document.pictureInPictureElement) document.exitPictureInPicture();
      else if (video.requestPictureInPicture) video.requestPictureInPicture().catch(() => {});
    },
    full() {
      const element = document.fullscreenElement || document.webkitFullscreenElement;
      if (element) (document.exitFullscreen || document.webkitExitFullscreen).call(document);
      else if (stage.requestFullscreen) stage.requestFullscreen().catch(() => {});
      else if (stage.webkitRequestFullscreen) stage.webkitRequestFullscreen();
      else if (video.webkitEnterFullscreen) video.webkitEnterFullscreen(); // iPhone: the video alone
    },
  };

  const keys = { ' ': 'pause', k: 'pause', m: 'mute', l: 'live', p: 'pip', f: 'full' };

  Object.keys(buttons).forEach((name) => buttons[name].addEventListener('click', () => {
    actions[name]();
    refresh();
    wake();
  }));
  document.addEventListener('keydown', (event) => {
    const name = keys[event.key.toLowerCase()];
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    const pressing = event.key === ' ' && /^(BUTTON|A)$/.test(event.target.tagName);
    if (!name || typing || pressing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (buttons[name].hidden) return;
    event.preventDefault();
    buttons[name].click();
  });
  video.addEventListener('dblclick', () => actions.full());
  ['pointermove', 'pointerdown', 'focusin'].forEach((type) => stage.addEventListener(type, wake));
  ['play', 'pause', 'playing', 'volumechange'].forEach((type) => video.addEventListener(type, refresh));

  buttons.full.hidden = !(stage.requestFullscreen || stage.webkitRequestFullscreen || video.webkitEnterFullscreen);
  buttons.pip.hidden = !document.pictureInPictureEnabled;
  refresh();
  wake();
  return {
    setSound(has) {
      buttons.mute.hidden = !has;
    },
  };
}
