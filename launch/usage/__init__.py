"""What an experiment has cost and used: hours by recipe, kind and outcome; used against requested; advice, as an edit.

Imports `launch.status` and what lies below it; changes nothing but, when told, the experiment file. Begin with `hours`.
"""
