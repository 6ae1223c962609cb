// Following an answer down the page, and letting go the moment the reader moves up. Only an upward move lets go: text that grows
// below also takes the end away from view, and must not count as one.

/** How near to the end counts as at the end, in pixels. */
const NEAR = 60;

export class Follower {
  #isFollowing = true;
  #lastTop = 0;
  #onChange;

  /** `onChange` hears whether the end is in view. */
  constructor(onChange) {
    this.#onChange = onChange;
    addEventListener('scroll', () => this.#moved(), { passive: true });
    addEventListener('resize', () => this.follow());
    // The wheel speaks before the page has moved, and so before the next text can pull it down again.
    addEventListener('wheel', ({ deltaY }) => { if (deltaY < 0 && !fits()) this.#set(false); }, { passive: true });
  }

  /** After text has grown: stays at the end if the reader was there. */
  follow() {
    if (this.#isFollowing) scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
    else this.#onChange(isAtEnd());
  }

  /** Goes to the end and stays there. */
  toEnd() {
    this.#set(true);
    this.follow();
  }

  #moved() {
    const wentUp = scrollY < this.#lastTop - 1;
    this.#lastTop = scrollY;
    // Text that shrinks or a window that grows moves the page up as well, but leaves it at its very end.
    if (below() < 2) this.#set(true);
    else if (wentUp) this.#set(false);
    else if (isAtEnd()) this.#set(true);
  }

  #set(isFollowing) {
    this.#isFollowing = isFollowing;
    this.#onChange(isFollowing);
  }
}

const below = () => document.documentElement.scrollHeight - innerHeight - scrollY;
const isAtEnd = () => below() < NEAR;
const fits = () => document.documentElement.scrollHeight <= innerHeight + 1;
