import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.BuiltInDslStoreSuppliers.InMemoryDslStoreSuppliers;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/** Counts passages a site, direction and minute of receipt, each ce_id once; prints every count that has changed. */
public final class PassagesPerMinute {

    private static final String TOPIC = "attendance.sign-in.v1";
    private static final ObjectMapper JSON = new ObjectMapper();

    /** The topic's retention: how far apart two records that are read together can be. */
    private static final Duration KEPT = Duration.ofDays(7);

    public static void main(String[] arguments) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "example-passages-per-minute");
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, arguments[0]);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, System.getProperty("state.dir"));
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        // A stopped process stays a member until then: started again sooner, this one would have to wait for it.
        settings.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6_000);
        // In memory, restored from Kafka at a start: for more than an example take the default, which is on disk.
        settings.put(StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG, InMemoryDslStoreSuppliers.class);
        // What we count must not be counted twice either where this process dies between a count and its commit.
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        KafkaStreams streams = new KafkaStreams(topology(), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(10))));
        streams.start();
    }

    static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(TOPIC, Consumed.with(Serdes.String(), Serdes.String()))
                .process(new EachIdOnce())
                .map((sn, value) -> KeyValue.pair(siteAndDirection(value), ""))
                .groupByKey(Grouped.with(Serdes.String(), Serdes.String()))
                // A record's timestamp is the platform's time of receipt. Partitions are read at different paces, so
                // with less grace whoever catches up would drop records of the slower ones.
                .windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), KEPT))
                .count(Materialized.with(Serdes.String(), Serdes.Long()))
                .toStream()
                .foreach((window, count) -> System.out.printf(
                        "%s  %-24s %d%n", Instant.ofEpochMilli(window.window().start()), window.key(), count));
        return builder.build();
    }

    private static String siteAndDirection(String value) {
        try {
            JsonNode event = JSON.readTree(value);
            return event.path("siteId").asText("no site") + " " + event.path("direction").asText("not told");
        } catch (JsonProcessingException error) {
            throw new IllegalStateException("a record of " + TOPIC + " is not JSON", error);
        }
    }

    /** Passes a ce_id on once. Duplicates have the key of the first, so they come to the same task and store. */
    private static final class EachIdOnce implements ProcessorSupplier<String, String, String, String> {

        private static final String SEEN = "seen-ids";

        @Override
        public Set<StoreBuilder<?>> stores() {
            return Set.of(Stores.windowStoreBuilder(
                    Stores.inMemoryWindowStore(SEEN, KEPT, KEPT, false), Serdes.String(), Serdes.ByteArray()));
        }

        @Override
        public Processor<String, String, String, String> get() {
            return new ContextualProcessor<>() {

                private WindowStore<String, byte[]> seen;

                @Override
                public void init(ProcessorContext<String, String> context) {
                    super.init(context);
                    seen = context.getStateStore(SEEN);
                }

                @Override
                public void process(Record<String, String> record) {
                    String id = new String(record.headers().lastHeader("ce_id").value(), StandardCharsets.UTF_8);
                    long time = record.timestamp();
                    try (var found = seen.fetch(id, time - KEPT.toMillis(), time + KEPT.toMillis())) {
                        if (found.hasNext()) {
                            return;
                        }
                    }
                    seen.put(id, new byte[] {1}, time);
                    context().forward(record);
                }
            };
        }
    }
}
