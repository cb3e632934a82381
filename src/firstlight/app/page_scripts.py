"""JavaScript of the page: it scrolls results into view, names previews, and marks tables that can be scrolled."""

from __future__ import annotations

# On a phone the answer is below the picture and the examples; on a wide screen it is beside them and in view.
SHOW_ANSWER = """
() => {
  for (const image of document.querySelectorAll('#picture img')) image.alt = 'preview of the chosen picture';
  const answer = document.querySelector('#answer .fl-answer, #answer .fl-refused');
  if (!answer) return;
  const box = answer.getBoundingClientRect();
  if (box.top < 0 || box.top > 0.6 * window.innerHeight) answer.scrollIntoView({block: 'start'});
}
"""
SHOW_FIRST_MISTAKE = """
() => {
  document.querySelector('#wrong')?.scrollIntoView({block: 'start'});
}
"""
# `element` is the block of HTML that Gradio runs this script for. A hidden tab has no size until it is shown.
MARK_SCROLLING = """
const mark = () => {
  for (const scrolled of element.querySelectorAll('.fl-scroll')) {
    scrolled.parentElement.classList.toggle('fl-overflows', scrolled.scrollWidth > scrolled.clientWidth + 1);
  }
};
new ResizeObserver(mark).observe(element);
mark();
"""
