# SPDX-License-Identifier: MPL-2.0
"""Configuration of Sphinx."""

import inspect

import odl_genreg

project = "odl_genreg"
author = "The odl_genreg developers"
copyright = author
release = version = odl_genreg.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "py:obj"

autosummary_generate = True
autoclass_content = "both"  # the class says what, __init__ holds the parameters
autodoc_member_order = "groupwise"
autodoc_typehints = "none"
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"odl_genreg {release}"


def signature_of_init(app, what, name, obj, options, signature, return_annotation):
    """Show the arguments of ``__init__``; ODL's operators hide them by ``__new__``."""
    if what == "class" and obj.__init__ is not object.__init__:
        parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
        bare = [p.replace(annotation=inspect.Parameter.empty) for p in parameters]
        return str(inspect.Signature(bare)), None
    return None


def resolve_by_last_name(app, env, node, contnode):
    """Link `soft_constraint` to the module that documents it, if there is but one."""
    if node.get("refdomain") != "py":
        return None
    domain, name = env.get_domain("py"), node["reftarget"]
    matches = [full for full in domain.objects if full.endswith(f".{name}")]
    if len(matches) != 1:
        return None
    where = (env, node["refdoc"], app.builder, node["reftype"], matches[0])
    return domain.resolve_xref(*where, node, contnode)


def setup(app):
    """Let Sphinx ask for signatures here, before numpydoc."""
    app.connect("autodoc-process-signature", signature_of_init, priority=400)
    app.connect("missing-reference", resolve_by_last_name)
