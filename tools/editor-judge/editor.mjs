// The schema of a TipTap editor with its usual extensions, and a check of documents against it.

import { getSchema } from "@tiptap/core";
import { Details, DetailsContent, DetailsSummary } from "@tiptap/extension-details";
import Image from "@tiptap/extension-image";
import { TaskItem, TaskList } from "@tiptap/extension-list";
import Mention from "@tiptap/extension-mention";
import { TableKit } from "@tiptap/extension-table";
import TextAlign from "@tiptap/extension-text-align";
import { TableMap } from "@tiptap/pm/tables";
import StarterKit from "@tiptap/starter-kit";

export const schema = getSchema([
  StarterKit,
  TaskList,
  TaskItem.configure({ nested: true }),
  TableKit,
  Details,
  DetailsSummary,
  DetailsContent,
  Image,
  Mention,
  TextAlign.configure({ types: ["heading", "paragraph"] }),
]);

/** The reason why the editor rejects a document; null if it accepts it. */
export function rejection(json) {
  try {
    const document = schema.nodeFromJSON(json);
    document.check();
    let problem = null;
    document.descendants((node) => {
      if (node.type.spec.tableRole === "table") {
        problem ??= TableMap.get(node).problems?.[0]?.type ?? null;
      }
    });
    return problem;
  } catch (error) {
    return error.message;
  }
}
