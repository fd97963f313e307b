"""Pictures of workflows: read leniently, laid out in layers, written as SVG."""
