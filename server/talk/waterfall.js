// A turn's waterfall as a picture: how long after the caller's last speech each stage of the answer was reached.

const STAGES = {
  endpointing: "End of turn",
  stt: "Transcript",
  llm_first_token: "First token",
  llm_first_clause: "First clause",
  tts_first_audio: "First audio",
};
// Heights are CSS pixels and widths percent, so that letters keep their size on any screen.
const ROW = 22;
const LEFT = 30;
const WIDTH = 49;

export function waterfall(stages) {
  const reached = Object.entries(stages).sort(([, one], [, other]) => one - other);
  const total = Math.max(1, ...reached.map(([, at]) => at));
  const told = reached.map(([stage, at]) => `${STAGES[stage] ?? stage} ${Math.round(at)} ms`).join(", ");
  const picture = svg("svg", { role: "img", "aria-label": `After your last word: ${told}`, height: ROW * reached.length });
  let before = 0;
  for (const [row, [stage, at]] of reached.entries()) {
    const middle = row * ROW + ROW / 2;
    picture.append(
      svg("text", { x: 0, y: middle, class: "stage" }, STAGES[stage] ?? stage),
      svg("rect", { x: `${LEFT}%`, y: row * ROW + 5, width: `${WIDTH}%`, height: ROW - 10, rx: 2, class: "track" }),
      svg("rect", {
        x: `${LEFT + (WIDTH * before) / total}%`,
        y: row * ROW + 5,
        width: `${Math.max(0.8, (WIDTH * (at - before)) / total)}%`,
        height: ROW - 10,
        rx: 2,
        class: `bar ${stage}`,
      }),
      svg("text", { x: "100%", y: middle, class: "ms" }, `${Math.round(at)} ms`),
    );
    before = Math.max(before, at);
  }
  return picture;
}

function svg(name, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  return element;
}
