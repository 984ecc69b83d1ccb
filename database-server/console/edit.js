import { h } from "./element.js";
export function editView() { return { title: "Topology", element: h("section", {}, h("h1", { text: "Topology" })) }; }
