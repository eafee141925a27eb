# build/release/plant ROWS SEED WORDS DEFECTS > rows.jsonl 2> defects: rows with planted defects
$(BUILD)/plant: $(BUILD)/bench/plant.o $(filter $(BUILD)/src/base/%,$(LIB_OBJ)) $(BUILD)/src/data/findings.o
	$(Q)$(CC) $(CFLAGS_ALL) $(LDFLAGS) $^ -o $@ $(LIBS)
-include $(BUILD)/bench/plant.d
