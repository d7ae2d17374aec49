#!/usr/bin/env python3
"""Checks that docs/openapi.json is valid OpenAPI 3.1 and that each example matches its schema.

    check_openapi_examples.py docs/openapi.json

`scripts/check_openapi.py` runs this in an environment with the packages that it needs.
"""

import json
import pathlib
import sys

import jsonschema_rs
from openapi_spec_validator import OpenAPIV31SpecValidator


def main():
    (path,) = sys.argv[1:]
    document = json.loads(pathlib.Path(path).read_text())
    if not document["openapi"].startswith("3.1."):
        sys.exit(f"error: {path} is OpenAPI {document['openapi']}")
    OpenAPIV31SpecValidator(document).validate()
    count, faults = 0, []
    for where, schema, example in examples(document):
        count += 1
        # References are resolved in the document.
        validator = jsonschema_rs.Draft202012Validator(
            {**schema, "components": document["components"]}, validate_formats=True)
        faults += [f"{where}: {error.message} at {error.instance_path}" for error in validator.iter_errors(example)]
    if faults:
        sys.exit("error: examples do not match their schemas:\n" + "\n".join(faults))
    print(f"{path}: valid OpenAPI 3.1, and {count} examples match their schemas")


def examples(document):
    """Yields every example with its location and schema."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            where = f"{method.upper()} {path}"
            for parameter in operation.get("parameters", []):
                yield from of(f"{where} {parameter['name']}", parameter)
            contents = [("request", operation.get("requestBody", {}))]
            contents += operation["responses"].items()
            for name, container in contents:
                for content in container.get("content", {}).values():
                    yield from of(f"{where} {name}", content)
    for name, schema in document["components"]["schemas"].items():
        yield from of_schema(name, schema)


def of(where, holder):
    """Yields the examples of a parameter or content."""
    values = [example["value"] for example in holder.get("examples", {}).values()]
    values += [holder["example"]] if "example" in holder else []
    for value in values:
        yield where, holder["schema"], value


def of_schema(where, schema):
    """Yields the examples in a schema, at any depth."""
    for value in schema.get("examples", []):
        yield where, schema, value
    for name, property in schema.get("properties", {}).items():
        yield from of_schema(f"{where}.{name}", property)


if __name__ == "__main__":
    main()
