"What is tried; each area is a module of its own."
import hard_archives
import hard_crashes
import hard_disks
import hard_folders
import hard_machines
import hard_models
import hard_notebooks
import hard_pictures
import hard_processes
import hard_web
from trials import Area

AREAS = [
    Area('pictures', hard_pictures.make),
    Area('folders', hard_folders.make),
    Area('archives', hard_archives.make),
    Area('models', hard_models.make),
    Area('disks', hard_disks.make),
    Area('crashes', hard_crashes.make),
    Area('machines', hard_machines.make),
    Area('processes', hard_processes.make, workers=1),
    Area('notebooks', hard_notebooks.make),
    Area('web', hard_web.make),
]
