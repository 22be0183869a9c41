// Says in the language of the page what Gradio says in English, in a corner, or not at all: the
// queue is full, the connection broke, the conversation had to begin anew. Gradio opens the page
// anew as soon as the server answers; what was written is kept in this tab meanwhile.
(texts) => {
  const KEPT = 'llmrec-kept';
  const BOXES = '#lr-box textarea, #lr-ask-box textarea';
  let store = null;
  try {
    store = window.sessionStorage;
  } catch { /* a page inside another one may be allowed none */ }
  const find = (selector) => document.querySelector(selector);
  const language = () => find('[data-page-language]')?.dataset.pageLanguage;
  const turns = () => document.querySelectorAll('.lr-turn, .lr-round');
  const words = () => texts[language()] ?? texts.en;

  let told = 0; // how many turns there were when something was said
  const say = (kind) => {
    find('.lr-notice')?.remove();
    told = turns().length;
    const notice = document.createElement('div');
    notice.className = 'lr-notice';
    notice.setAttribute('role', 'alert');
    const sentence = document.createElement('p');
    sentence.textContent = words()[kind];
    const close = document.createElement('button');
    close.type = 'button';
    close.textContent = '×';
    close.setAttribute('aria-label', words().close);
    close.addEventListener('click', () => notice.remove());
    notice.append(sentence, close);
    document.body.append(notice);
  };

  const lost = () => {
    const typed = [...document.querySelectorAll(BOXES)]
      .find((box) => box.offsetParent && box.value.trim());
    const turn = [...turns()].at(-1);
    const open = ['thinking', 'cards'].includes(turn?.dataset.stage);
    const said = open ? turn.querySelector('.lr-said p')?.textContent : '';
    const kept = { text: typed?.value ?? said ?? '', language: language() };
    if (turn || typed) store?.setItem(KEPT, JSON.stringify(kept));
    say('lost');
  };

  let kept = JSON.parse(store?.getItem(KEPT) ?? null);
  store?.removeItem(KEPT);
  let switched = false;
  const restore = () => {
    const box = find('#lr-box textarea');
    if (!box || !language()) return;
    if (!box.value && kept.text) {
      box.value = kept.text;
      box.dispatchEvent(new Event('input', { bubbles: true }));
    }
    if (language() !== kept.language) {
      if (!switched) find(`[data-language="${kept.language}"]`)?.click();
      switched = true;
      return;
    }
    say(kept.text ? 'anew' : 'empty');
    kept = null;
  };

  const KINDS = [[/currently busy/, 'busy'], [/^Connection to the server was lost/, 'lost']];
  const look = () => {
    if (kept) restore();
    if (turns().length > told) find('.lr-notice')?.remove();
    for (const toast of document.querySelectorAll('[data-testid=toast-body]:not([hidden])')) {
      const shown = [...toast.querySelectorAll('[data-testid=toast-text]')].map((t) => t.textContent);
      const kind = KINDS.find(([pattern]) => shown.some((text) => pattern.test(text.trim())))?.[1];
      if (!kind) continue;
      toast.hidden = true;
      toast.querySelector('[data-testid=toast-close]')?.click();
      if (kind === 'lost') lost();
      else say(kind);
    }
  };
  new MutationObserver(look).observe(document.body, {
    childList: true, subtree: true, attributeFilter: ['data-page-language'],
  });
  look();
}
