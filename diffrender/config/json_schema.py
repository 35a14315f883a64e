"""Build the JSON schema of scene.yaml for editors; `diffrender schema` prints it."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_origin

from diffrender.config.options.base import LIMITS, Strict, arms_of, model_of, shape_of, words_of
from diffrender.config.resolved import plain
from diffrender.config.schema import FitConfig

SCALARS = {int: "integer", float: "number", str: "string", bool: "boolean"}
NULL = {"type": "null"}


def scene_schema() -> dict[str, Any]:
    """Return the schema of a whole scene file, shorthands included."""
    writer = _Writer()
    schema = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "scene.yaml of diffrender"}
    return schema | writer.mapping(FitConfig) | {"definitions": writer.definitions}


class _Writer:
    """Turns types into schemas; those of mappings become definitions."""

    def __init__(self) -> None:
        self.names: dict[type[Strict], str] = {}
        self.definitions: dict[str, Any] = {}

    def schema(self, kind: Any) -> dict[str, Any]:
        alternatives = self.alternatives(kind)
        return alternatives[0] if len(alternatives) == 1 else {"anyOf": alternatives}

    def alternatives(self, kind: Any) -> list[dict[str, Any]]:
        """Return the schemas of the forms that a type may be written in."""
        shape = shape_of(kind)
        found = self.forms(kind) + ([NULL] if shape.is_nullable else [])
        # One list of words is easier to choose from than one per arm.
        words = list(dict.fromkeys(word for each in found for word in each.get("enum", ())))
        others = [each for i, each in enumerate(found) if "enum" not in each and each not in found[:i]]
        return others + ([{"enum": words}] if words else [])

    def forms(self, kind: Any) -> list[dict[str, Any]]:
        shape, model = shape_of(kind), model_of(kind)
        if shape.form is not None and shape.form.schema is not None:
            return list(shape.form.schema.get("anyOf", [shape.form.schema]))
        if shape.choice is not None:
            return [form for tag, arm in arms_of(kind).items() for form in self.arm(tag, arm, shape.choice)]
        if model is not None:
            return self.mapping_or_shorthand(model)
        if words_of(kind):
            return [{"enum": words_of(kind)}]
        named = {LIMITS[name]: limit for name, limit in shape.limits.items()}
        items = get_args(shape.kind)
        if get_origin(shape.kind) is tuple:
            return [{"type": "array", "items": self.schema(items[0]), "minItems": len(items), "maxItems": len(items)}]
        if get_origin(shape.kind) is list:
            return [{"type": "array", "items": self.schema(items[0]), **named}]
        return [{"type": SCALARS[shape.kind], **named}]

    def arm(self, tag: str, kind: Any, choice: Any) -> list[dict[str, Any]]:
        """Return the forms of one arm of a union."""
        forms, model = self.alternatives(kind), model_of(kind)
        if model is None or not choice.is_keyed(kind) or tag == choice.otherwise:
            return forms
        definition = self.definitions[self.names[model]]
        definition["required"] = sorted({choice.key, *definition.get("required", ())})
        return [form for form in forms if form != NULL]

    def mapping_or_shorthand(self, model: type[Strict]) -> list[dict[str, Any]]:
        if model not in self.names:
            name = model.__name__.partition("[")[0]
            taken = sum(other.__name__.partition("[")[0] == name for other in self.names)
            self.names[model] = f"{name}{taken + 1 if taken else ''}"
            self.definitions[self.names[model]] = {}
            self.definitions[self.names[model]] |= self.mapping(model)
        fields, forms = model.fields_by_key(), [{"$ref": f"#/definitions/{self.names[model]}"}]
        for key in dict.fromkeys(model.shorthands.values()):
            forms += self.alternatives(fields[key].rebuild_annotation() if key else bool)
        return forms if any(field.is_required() for field in fields.values()) else [*forms, NULL]

    def mapping(self, model: type[Strict]) -> dict[str, Any]:
        properties = {}
        for key, field in model.fields_by_key().items():
            schema = self.schema(field.rebuild_annotation())
            about = {} if field.description is None else {"description": field.description}
            default = {} if field.is_required() or field.default is None else {"default": plain(field.default)}
            properties[key] = ({"anyOf": [schema]} if "$ref" in schema else schema) | about | default
        switches = [{"enum": ["off"]}] if "off" in model.extra_words[1] else []
        required = [key for key, field in model.fields_by_key().items() if field.is_required()]
        return {
            "type": "object",
            "description": inspect.getdoc(model),
            "properties": properties,
            **({"required": required} if required else {}),
            "additionalProperties": False
            if model.extra_kind is None
            else {"anyOf": [*self.alternatives(model.extra_kind), *switches]},
        }
