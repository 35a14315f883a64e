"use strict";
// The picture that was pressed is shown large; arrow keys go on to the next.
const strip = document.getElementById("strip");
if (strip !== null) {
  const buttons = Array.from(strip.querySelectorAll("button"));
  const large = document.getElementById("picture");
  const caption = document.getElementById("caption");
  const show = (index) => {
    const button = buttons[index];
    large.src = button.querySelector("img").src;
    caption.textContent = button.title;
    large.alt = "Targets, renderings, their differences and shapes, " + button.title;
    buttons.forEach((each) => each.removeAttribute("aria-current"));
    button.setAttribute("aria-current", "true");
  };
  buttons.forEach((button, index) => {
    button.addEventListener("click", () => show(index));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const next = buttons[index + step];
      if (next !== undefined) {
        next.focus();
        next.click();
      }
    });
  });
}
