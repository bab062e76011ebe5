// event-ruler on the events and rules that main.rs writes: FOLDER and the number of rules → one line as main.rs prints it.

import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import software.amazon.event.ruler.Machine;

@SuppressWarnings("deprecation")
public class Ruler {
    static final ThreadMXBean THREAD = ManagementFactory.getThreadMXBean();

    static int pass(Machine machine, List<String> events) throws Exception {
        int found = 0;
        for (String event : events) {
            found += machine.rulesForJSONEvent(event).size();
        }
        return found;
    }

    public static void main(String[] args) throws Exception {
        List<String> events = Files.readAllLines(Path.of(args[0], "events.jsonl"));
        List<String> rules = Files.readAllLines(Path.of(args[0], "rules.jsonl"));
        Machine machine = new Machine();
        long begin = THREAD.getCurrentThreadCpuTime();
        int size = Integer.parseInt(args[1]);
        for (int number = 0; number < size; number++) {
            machine.addRule("r" + number, rules.get(number));
        }
        long built = THREAD.getCurrentThreadCpuTime() - begin;
        int found = pass(machine, events);
        // Warm: the compiler of the machine has seen every path often.
        for (long start = System.nanoTime(); System.nanoTime() - start < 10_000_000_000L;) {
            pass(machine, events);
        }
        double best = Double.MAX_VALUE;
        for (int round = 0; round < 5; round++) {
            long start = THREAD.getCurrentThreadCpuTime();
            int passes = 0;
            long taken = 0;
            while (taken < 500_000_000L) {
                pass(machine, events);
                passes++;
                taken = THREAD.getCurrentThreadCpuTime() - start;
            }
            best = Math.min(best, taken / 1e3 / passes / events.size());
        }
        System.out.printf("%.2f (%d ms, %.3f)%n", best, built / 1_000_000, (double) found / events.size());
    }
}
