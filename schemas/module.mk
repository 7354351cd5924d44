include schemas/gen/sources.mk

$(call library,schemas,\
  schemas/batch.c \
  schemas/batch_builder.c \
  schemas/envelope.c \
  $(SCHEMAS_GEN_SOURCES))
