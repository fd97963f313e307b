"""What the routes of projects and workflows take and give, in ComfyTavern's names."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from innkeeper.server.files.wire import Wire
from innkeeper.server.projects.index import Summary
from innkeeper.server.projects.templates import Template
from innkeeper.server.projects.workflows import MOST_TITLE

MOST_DESCRIPTION = 20_000
_SHOWN = 2000

Title = Annotated[str, Field(min_length=1, max_length=MOST_TITLE)]
Description = Annotated[str, Field(max_length=MOST_DESCRIPTION)]
View = Literal["editor", "custom"]

WorkflowObject = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "description": "A workflow as an editor stores it. Fields that are not listed are kept as they are.",
            "properties": {
                "id": {"type": "string", "description": "Given by the server."},
                "name": {"type": "string", "minLength": 1, "maxLength": MOST_TITLE},
                "description": {"type": "string"},
                "nodes": {"type": "array", "items": {"type": "object", "required": ["id", "type"]}},
                "edges": {"type": "array", "items": {"type": "object", "required": ["source", "target"]}},
                "viewport": {"type": "object"},
                "createdAt": {"type": "string"},
                "updatedAt": {"type": "string"},
            },
            "required": ["name", "nodes", "edges"],
            "additionalProperties": True,
        }
    ),
]


class ProjectFields(Wire):
    """What clients may say of a project. Fields that are not listed are kept as they are."""

    model_config = ConfigDict(extra="allow")

    description: Description | None = None
    version: str | None = Field(default=None, max_length=100)
    preferred_view: View | None = None
    enable_chat_page: bool | None = None
    panels: list[dict[str, Any]] | None = Field(default=None, max_length=1000)
    knowledge_base_references: list[dict[str, Any]] | None = Field(default=None, max_length=1000)
    custom_metadata: dict[str, Any] | None = None

    def given(self) -> dict[str, Any]:
        """What was sent, by key of the wire (dict)."""
        return self.model_dump(by_alias=True, exclude_unset=True)


class NewProject(ProjectFields):
    """A project to be made.

    Attributes:
        name: for people; the id is made of it.
        template_id: what it begins with.
    """

    name: Title
    template_id: str = Field(default="empty", max_length=255)


class ChangedProject(ProjectFields):
    """What changes of a project; what is not sent stays."""

    name: Title | None = None


class ProjectMetadata(Wire):
    """What project.json says; more than is listed may be there.

    Attributes:
        id: of the project, and the name of its folder.
    """

    model_config = ConfigDict(extra="allow")

    id: str
    name: str | None = None
    description: str | None = None
    version: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    template_used: str | None = None
    preferred_view: str | None = None
    schema_version: str | None = None
    enable_chat_page: bool | None = None


class ListedProject(Wire):
    """A project in a list.

    Attributes:
        id: of the project.
        error: why its project.json cannot be read, a sentence.
    """

    id: str
    name: str
    description: str | None = None
    version: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    template_used: str | None = None
    preferred_view: str | None = None
    schema_version: str | None = None
    enable_chat_page: bool = True
    error: str | None = None


class WorkflowMetadata(Wire):
    """A workflow in a list."""

    id: str
    name: str
    description: str | None = None
    updated_at: str | None = None
    creation_method: str | None = None
    referenced_workflows: list[str] | None = None


class ProjectTemplate(Wire):
    """What a project can begin with.

    Attributes:
        shared: whether it lies in `shared://templates`; else it came with the server.
    """

    id: str
    name: str
    description: str
    shared: bool


def listed_project(id: str, value: dict[str, Any], error: str) -> ListedProject:
    """A project in a list; of what project.json says only what fits."""
    texts = {
        field: each[:_SHOWN]
        for field, key in (
            ("name", "name"),
            ("description", "description"),
            ("version", "version"),
            ("created_at", "createdAt"),
            ("updated_at", "updatedAt"),
            ("template_used", "templateUsed"),
            ("preferred_view", "preferredView"),
            ("schema_version", "schemaVersion"),
        )
        if isinstance(each := value.get(key), str)
    }
    chat = value.get("enableChatPage") is not False
    return ListedProject(**{"name": id, **texts}, id=id, enable_chat_page=chat, error=error or None)


def listed_workflow(summary: Summary) -> WorkflowMetadata:
    """A workflow in a list."""
    return WorkflowMetadata(
        id=summary.id,
        name=summary.name,
        description=summary.description,
        updated_at=summary.updated_at,
        creation_method=summary.creation_method,
        referenced_workflows=None if summary.referenced is None else list(summary.referenced),
    )


def listed_template(template: Template) -> ProjectTemplate:
    """A template in a list."""
    return ProjectTemplate(id=template.id, name=template.name, description=template.description, shared=template.shared)
