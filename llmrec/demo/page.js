// One script for every HTML part of the page: it reports clicks to the server by their data
// attributes, keeps the newest turn in view, and opens and closes the panel on small screens.
const calm = window.matchMedia('(prefers-reduced-motion: reduce)');
const scrolling = () => (calm.matches ? 'auto' : 'smooth');

const panel = (open, opener) => {
  document.querySelector('#lr-panel')?.classList.toggle('lr-shown', open);
  document.querySelectorAll('[data-panel="open"]').forEach((b) => b.setAttribute('aria-expanded', open));
  if (open) document.querySelector('.lr-close')?.focus();
  else if (opener) document.querySelector('[data-panel="open"]')?.focus();
};

// The address of a list into the clipboard; the place beside the button says how that went.
const copy = async (button) => {
  const told = button.parentElement.querySelector('[role="status"]');
  told.textContent = '';
  try {
    await navigator.clipboard.writeText(button.parentElement.querySelector('.lr-link').href);
    told.textContent = told.dataset.done;
  } catch {
    told.textContent = told.dataset.failed;
  }
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  const { mark, id, say, surprise, language, copy: copied, panel: act } = button.dataset;
  if (mark) trigger('mark', { mark, id });
  if (say) trigger('say', { text: say });
  if (surprise !== undefined) trigger('surprise', {});
  if (language) trigger('language', { language });
  if (copied !== undefined) copy(button);
  if (act) panel(act === 'open', button);
});

if (element.querySelector('.lr-header')) {
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && document.querySelector('#lr-panel.lr-shown')) panel(false, true);
  });
  document.addEventListener('click', (event) => {
    if (event.target.closest('#lr-apply')) panel(false, false);
  });
}

let stamp = 0;
let newest = null;
let turns = 0;
let place = 0; // where the log was scrolled to, to tell whether the reader has moved it since
const bring = (log, top) => {
  place = Math.max(0, Math.min(top, log.scrollHeight - log.clientHeight));
  log.scrollTo({ top: place, behavior: scrolling() });
};
const settle = () => {
  const head = element.querySelector('.lr-header');
  if (head?.dataset.pageLanguage) {
    document.documentElement.lang = head.dataset.pageLanguage;
    document.title = head.dataset.pageTitle;
  }
  const log = element.querySelector('.lr-log');
  if (!log) return;
  // Answers to clicks and steps of a reply come by different ways and may overtake each other.
  const now = Number(log.querySelector('[data-stamp]')?.dataset.stamp ?? 0);
  if (now < stamp) {
    props.value = newest;
    return;
  }
  stamp = now;
  newest = props.value;
  const all = element.querySelectorAll('.lr-turn');
  const last = all[all.length - 1];
  if (all.length !== turns) {
    turns = all.length;
    bring(log, last ? last.offsetTop - 14 : 0);
  } else if (last?.dataset.stage === 'done' && Math.abs(log.scrollTop - place) < 40) {
    // Show the words below the cards, but never at the price of the cards themselves.
    const cards = last.querySelector('.lr-cards');
    const end = last.lastElementChild;
    const bottom = end.offsetTop + end.offsetHeight + 26 - log.clientHeight;
    const most = (cards ?? end).offsetTop - 14;
    bring(log, Math.max(place, Math.min(bottom, most)));
  }
};
watch('value', settle);
settle();
