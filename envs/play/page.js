() => {
  const keys = {
    KeyW: "away", ArrowUp: "away", KeyS: "near", ArrowDown: "near", KeyA: "left", ArrowLeft: "left",
    KeyD: "right", ArrowRight: "right", KeyE: "up", KeyQ: "down", KeyX: "stay", Space: "grip",
    Backspace: "rewind", KeyF: "fork", KeyM: "memory",
  };
  const press = (name) => {
    const element = document.getElementById(`play-${name}`);
    (name === "memory" ? element?.querySelector("input") : element)?.click();
  };
  document.addEventListener("keydown", (event) => {
    const name = keys[event.code];
    if (!name || event.ctrlKey || event.metaKey || event.altKey) return;
    const focus = event.target;
    if (focus.matches("input:not([type=range]):not([type=checkbox]):not([type=radio]), textarea, [contenteditable]")) return;
    // What has the focus keeps the keys that it has of its own.
    if (focus.matches("input, button") && (event.code === "Space" || event.code.startsWith("Arrow"))) return;
    event.preventDefault();
    press(name);
  });
  // Whoever points keeps no focus behind, so that the keys go on moving the hand.
  document.addEventListener("pointerup", () => setTimeout(() => {
    const focus = document.activeElement;
    if (focus?.matches("button, input[type=range], input[type=checkbox], input[type=radio]")) focus.blur();
  }, 0));
}
