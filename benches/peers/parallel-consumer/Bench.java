// The job of the benchmark with Confluent's Parallel Consumer on Vert.x: filter, reshape, one POST each, unordered, 64
// requests at a time, offsets committed after delivery. Arguments: brokers, topic, group, port of the receiver.

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.vertx.VertxParallelEoSStreamProcessor;
import io.vertx.core.Future;
import io.vertx.core.Vertx;
import io.vertx.core.buffer.Buffer;
import io.vertx.ext.web.client.WebClient;
import io.vertx.ext.web.client.WebClientOptions;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

public class Bench {
  private static final int CONCURRENCY = 64;

  public static void main(String[] arguments) {
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", arguments[0],
        "group.id", arguments[2],
        "auto.offset.reset", "earliest",
        "enable.auto.commit", false);
    var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    ParallelConsumerOptions<byte[], byte[]> options = ParallelConsumerOptions.<byte[], byte[]>builder()
        .consumer(consumer)
        .ordering(ParallelConsumerOptions.ProcessingOrder.UNORDERED)
        .commitMode(ParallelConsumerOptions.CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
        .maxConcurrency(CONCURRENCY)
        .build();
    Vertx vertx = Vertx.vertx();
    WebClient client = WebClient.create(vertx, new WebClientOptions().setMaxPoolSize(CONCURRENCY));
    var processor = new VertxParallelEoSStreamProcessor<byte[], byte[]>(vertx, client, options);
    processor.subscribe(List.of(arguments[1]));
    var json = new ObjectMapper();
    int port = Integer.parseInt(arguments[3]);
    processor.vertxFuture(context -> {
      try {
        JsonNode event = json.readTree(context.getSingleConsumerRecord().value());
        JsonNode data = event.path("data");
        if (!event.path("type").asText().equals("order.paid") || data.path("total").asDouble() <= 100) {
          return Future.succeededFuture();
        }
        ObjectNode order = json.createObjectNode();
        order.set("event", event.path("id"));
        order.set("sent", event.path("sent"));
        order.set("order", data.path("id"));
        order.set("customer", data.path("customer").path("name"));
        order.set("items", data.path("items"));
        order.set("total", data.path("total"));
        order.set("note", data.path("note"));
        return client.post(port, "127.0.0.1", "/in")
            .putHeader("content-type", "application/json")
            .sendBuffer(Buffer.buffer(json.writeValueAsBytes(order)))
            .compose(answer -> answer.statusCode() < 300
                ? Future.succeededFuture()
                : Future.failedFuture("status " + answer.statusCode()));
      } catch (Exception fault) {
        return Future.failedFuture(fault);
      }
    });
  }
}
