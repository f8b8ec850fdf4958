"""Reading Markdown by a schema: lines, labels, headings, values, items. `markdown_to_json.py` uses it."""
