"Everything is said in settings.ini; this hands it to setuptools."
from configparser import ConfigParser
from pathlib import Path

from setuptools import setup

cfg = ConfigParser(delimiters=['='])
cfg.read('settings.ini', encoding='utf-8')
cfg = cfg['DEFAULT']
raw = cfg['git_url'].replace('github.com', 'raw.githubusercontent.com') # where PyPI finds the README's picture
readme = Path('README.md').read_text(encoding='utf-8').replace('](nbs/', f']({raw}/{cfg["branch"]}/nbs/')

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    license='Apache-2.0',
    url=cfg['git_url'],
    project_urls={
        'Documentation': cfg['doc_host'] + cfg['doc_baseurl'],
        'Issues': f'{cfg["git_url"]}/issues',
        'Changelog': f'{cfg["git_url"]}/blob/{cfg["branch"]}/CHANGELOG.md',
    },
    author=cfg['author'],
    author_email=cfg['author_email'],
    keywords=cfg['keywords'].split(),
    long_description=readme,
    long_description_content_type='text/markdown',
    python_requires=f'>={cfg["min_python"]}',
    packages=['imgcourse', 'imgcourse.lessons'],
    package_dir={'imgcourse': 'imgcourse', 'imgcourse.lessons': 'nbs'},
    package_data={
        'imgcourse': ['*.css', '*.j2', '*.js', '*.json', '*.pyi', 'py.typed'],
        'imgcourse.lessons': ['*.ipynb', '*.jpg', '*/*.ipynb', '*/*.svg'],
    },
    install_requires=cfg['requirements'].split(),
    extras_require={extra: cfg[f'{extra}_requirements'].split() for extra in ('fast', 'hub', 'bench', 'dev')},
    entry_points={
        'console_scripts': cfg['console_scripts'].split('\n'),
        'nbdev': [f'imgcourse={cfg["lib_path"]}._modidx:d'],
    },
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Framework :: Jupyter :: JupyterLab',
        'Intended Audience :: Education',
        'Operating System :: OS Independent',
        'Programming Language :: Python :: 3',
        'Programming Language :: Python :: 3.11',
        'Programming Language :: Python :: 3.13',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    zip_safe=False,
)
