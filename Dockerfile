# docker build -t imgcourse .
#     (smaller, without GPU: --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu)
# docker run --rm -p 127.0.0.1:8888:8888 -v imgcourse:/home/learner imgcourse
#     (with a GPU: --gpus all)
FROM python:3.12-slim
ARG TORCH_INDEX=
WORKDIR /src
COPY settings.ini setup.py pyproject.toml constraints.txt MANIFEST.in LICENSE README.md _quarto.yml ./
COPY imgcourse imgcourse
COPY nbs nbs
RUN PIP_EXTRA_INDEX_URL=$TORCH_INDEX pip install --no-cache-dir -c constraints.txt . && rm -rf /src \
 && mkdir -p /etc/jupyter \
 && echo '{"ServerApp": {"ip": "0.0.0.0", "port": 8888, "open_browser": false}}' \
    > /etc/jupyter/jupyter_server_config.json \
 && useradd --create-home learner
USER learner
WORKDIR /home/learner
EXPOSE 8888
CMD ["imgcourse", "lab"]
