# A base whose children do something first.
FROM base
WORKDIR /made
ONBUILD RUN echo "$PWD $T" >>/triggered
ONBUILD ARG T=arg
ONBUILD RUN echo $T >>/triggered
ONBUILD COPY one.txt ./
ONBUILD LABEL triggered=$T
