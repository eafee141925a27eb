# make bench-pii ARGS="[hits] FILE...": speed of the scanner for personal data, or what it finds
$(BUILD)/bench-pii: $(BUILD)/bench/pii.o \
    $(foreach m,base text data,$(filter $(BUILD)/src/$(m)/%,$(LIB_OBJ)))
	$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
bench-pii: $(BUILD)/bench-pii
	$< $(ARGS)
.PHONY: bench-pii

# how much of the labelled set is found, whole: 3,000 texts
pii-figures: $(BUILD)/unit-data
	PII_TEXTS=3000 $(BUILD)/unit-data.bin data_pii_figures
.PHONY: pii-figures
