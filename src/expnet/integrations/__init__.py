"""An explainer behind the doors of other libraries; a module each, which alone imports that library."""
