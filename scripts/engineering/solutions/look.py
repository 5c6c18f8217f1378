import csv, json, os, pathlib

data = pathlib.Path(os.environ.get("DATA_DIR", "{{DATA}}"))
facts = {"tables": {}, "pictures": {}}


def describe(rows, at):
    cells = [row[at] for row in rows if at < len(row)]
    filled = [cell for cell in cells if cell != ""]
    numbers = 0
    for cell in filled:
        try:
            float(cell)
            numbers += 1
        except ValueError:
            pass
    words = sum(len(cell.split()) for cell in filled) / max(len(filled), 1)
    return {
        "numeric": bool(filled) and numbers == len(filled),
        "whole": bool(filled) and all(cell.lstrip("-").isdigit() for cell in filled),
        "unique": len(set(filled)),
        "missing": len(cells) - len(filled),
        "words": round(words, 1),
        "example": filled[0][:60] if filled else "",
    }


# Folders may be links, which a glob does not follow.
found = [pathlib.Path(folder, name) for folder, _, names in os.walk(data, followlinks=True) for name in names]
for path in sorted(found):
    name = str(path.relative_to(data))
    if path.suffix == ".csv":
        with open(path, newline="", errors="replace") as file:
            rows = list(csv.reader(file))
        columns = {column: describe(rows[1:20001], at) for at, column in enumerate(rows[0])} if rows else {}
        facts["tables"][name] = {"rows": len(rows) - 1, "columns": columns}
        print(f"{name}: {len(rows) - 1} rows")
        for column, about in list(columns.items())[:40]:
            print("  ", column, about)
    elif path.suffix.lower() in (".png", ".jpg", ".jpeg"):
        folder = str(path.parent.relative_to(data))
        facts["pictures"][folder] = facts["pictures"].get(folder, 0) + 1
    elif path.is_file():
        print(f"{name}: {path.stat().st_size} bytes")
for folder, count in facts["pictures"].items():
    print(f"{folder}/: {count} pictures")
for table in facts["tables"].values():
    table["columns"] = {column: [about["numeric"], about["whole"], about["unique"], about["words"]] for column, about in list(table["columns"].items())[:200]}
print("FACTS " + json.dumps(facts))
