# A base with something of every field.
FROM base
ENV PATH=/bin:/opt LANG=C GREETING="hello world"
LABEL from=base kept="a b"
WORKDIR /srv
VOLUME /data
EXPOSE 80
STOPSIGNAL SIGINT
HEALTHCHECK --interval=5s CMD true
SHELL ["/bin/ash", "-e", "-c"]
ENTRYPOINT ["/bin/echo"]
CMD ["from", "base"]
USER app
