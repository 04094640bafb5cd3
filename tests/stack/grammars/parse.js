// Parses queries: reads [{"language": "logql" | "traceql", "query": "..."}] and writes for each the list of what the
// grammar cannot read, as {"at": offset, "text": "..."}; an empty list for a query without a fault.
import { readFileSync } from "node:fs";
import { parser as logql } from "@grafana/lezer-logql";
import { parser as traceql } from "@grafana/lezer-traceql";

const parsers = { logql, traceql };

function faults({ language, query }) {
  const found = [];
  parsers[language].parse(query).iterate({
    enter(node) {
      if (node.type.isError) found.push({ at: node.from, text: query.slice(node.from, Math.max(node.to, node.from + 20)) });
    },
  });
  return found;
}

console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(faults)));
