export { learnPolicy, type LearnedPolicy, type LearnOptions } from "./learn.ts";
export type { SeenAction } from "./need.ts";
export type { Unlearned } from "./render.ts";
